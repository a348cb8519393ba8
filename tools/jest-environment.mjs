import { TestEnvironment } from "jest-environment-node";

/**
 * Jest raises the depth of stack traces to 100, in its own realm too. Node's crypto tells keys apart by an error that it
 * catches, at every packet of an SSH connection, and so spends a third of our tests' time on traces that nobody sees.
 */
export default class DefaultStackTraces extends TestEnvironment {
  async setup() {
    await super.setup();
    Error.stackTraceLimit = 10;
  }
}
