import { z } from "zod";

export const Sha256Schema = z.string().regex(/^[0-9a-f]{64}$/, "64 hex digits: the SHA-256 of the file");
export const CommitSchema = z.string().regex(/^[0-9a-f]{40}$/, "40 hex digits: a commit");

/** A package archive besides the distribution's own. */
export const RepositorySchema = z.strictObject({
  name: z.string().describe("Name for people."),
  keyring: z
    .strictObject({ url: z.url({ protocol: /^https?$/ }), sha256: Sha256Schema })
    .describe("A .deb that sets up the archive and its key; for the Red Hat family its .repo file."),
});
