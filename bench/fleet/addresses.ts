/** All of 127.0.0.0/8 is this machine's, and so a fleet has room. `node` from 0, below 65,536. */
export const addressOf = (node: number): string => `127.1.${node >> 8}.${node & 255}`;

/** `n00042`. */
export const nameOf = (node: number): string => `n${String(node).padStart(5, "0")}`;

/** Of every `each` nodes the last one. */
export const isDrifted = (node: number, each: number | undefined): boolean =>
  each !== undefined && node % each === each - 1;
