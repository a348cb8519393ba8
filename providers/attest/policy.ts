/** What a guest has to be. In the kit, because wanted states and the stack config hold it. */
export * from "../kit/attest-policy.ts";
