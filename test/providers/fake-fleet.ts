import type { Action } from "../../providers/kit/action.ts";
import type { Answers, Asks } from "../../providers/kit/ask.ts";
import { missing, ok } from "../../providers/kit/ask.ts";
import { TeeUpError } from "../../providers/kit/errors.ts";
import type { Fleet, Lock, Machine, NodeMachines } from "../../providers/kit/machine.ts";

/** A machine that is a map of files; good for the loop itself, which cares for no machine. */
export class FakeMachine implements Machine {
  readonly id: string;
  readonly files = new Map<string, string>();
  readonly acted: Action[] = [];
  /** Asks answered since the start, memoised ones not counted. */
  asked = 0;
  lockedBy: string | undefined;
  onAct: (action: Action) => void = () => undefined;
  #memo = new Map<string, Answers[string]>();

  constructor(id: string) {
    this.id = id;
  }

  observe<A extends Asks>(asks: A): Promise<Answers<A>> {
    const answers = Object.entries(asks).map(([name, ask]) => {
      const key = JSON.stringify(ask);
      const known = this.#memo.get(key);
      if (known !== undefined) return [name, known];
      this.asked++;
      const text = ask.kind === "file" ? this.files.get(ask.path) : undefined;
      const reach = ask.kind === "argv" && ask.argv[0] === "uname" ? ok("6.11.0\n") : missing;
      const answer = text === undefined ? reach : ok(text);
      this.#memo.set(key, answer);
      return [name, answer];
    });
    return Promise.resolve(Object.fromEntries(answers) as Answers<A>);
  }

  forget(): void {
    this.#memo.clear();
  }

  act(action: Action): Promise<void> {
    this.acted.push(action);
    if (action.do === "write") this.files.set(action.path, action.content);
    if (action.do === "remove") this.files.delete(action.path);
    this.onAct(action);
    return Promise.resolve();
  }

  lock(purpose: string): Promise<Lock> {
    if (this.lockedBy !== undefined)
      return Promise.reject(new TeeUpError({ code: "lock.held", node: this.id, saw: this.lockedBy, next: "wait" }));
    this.lockedBy = purpose;
    return Promise.resolve({
      lost: this.lockLost.signal,
      release: () => {
        this.lockedBy = undefined;
        return Promise.resolve();
      },
    });
  }

  readonly lockLost = new AbortController();
}

export class FakeFleet implements Fleet {
  readonly machines: Record<string, { host: FakeMachine; guest: FakeMachine }>;

  constructor(...names: string[]) {
    this.machines = Object.fromEntries(
      names.map((name) => [name, { host: new FakeMachine(name), guest: new FakeMachine(`${name}/cvm0`) }]),
    );
  }

  get names(): readonly string[] {
    return Object.keys(this.machines);
  }

  node(name: string): NodeMachines {
    const machines = this.machines[name];
    if (machines === undefined) throw new TeeUpError({ code: "config.unknown-node", saw: name, next: "" });
    return machines;
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
