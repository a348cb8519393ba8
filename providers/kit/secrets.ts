import { z } from "zod";

/** In the guest's memory: gone with the guest, and never on a disk that its host holds. */
export const SECRETS_DIR = "/run/teeup/secrets";
/** What was released in this boot, and under which policy and host key; no secret. */
export const RELEASED_FILE = "/run/teeup/attested.json";

const Name = z.string().regex(/^[a-z0-9][a-z0-9._-]{0,62}$/, "lower-case letters, digits, dots, dashes, at most 63");

/** A secret that an attested guest gets as a file. Its value is never part of it. */
export const ReleaseSchema = z.strictObject({
  name: Name.describe(`Its name in \`teeup:secrets\`, and of the file in ${SECRETS_DIR}.`),
  mode: z
    .string()
    .regex(/^0[0-7]{3}$/)
    .default("0400")
    .describe("Octal."),
  owner: z
    .string()
    .regex(/^[a-z_][a-z0-9_-]*:[a-z_][a-z0-9_-]*$/)
    .default("root:root")
    .describe("user:group."),
  version: z
    .string()
    .max(40)
    .default("1")
    .describe("Any word: another one releases the secret anew, as after a rotation."),
});
export type Release = z.output<typeof ReleaseSchema>;

/** Fewer are no secret: to hide `null` or `ok` would tear holes into everything that is said. */
export const LEAST_CHARACTERS = 8;

/** Where a secret's value comes from: a Pulumi secret, or what a command prints on the controller. */
export const SecretSourceSchema = z.union([
  z
    .string()
    .min(LEAST_CHARACTERS, `at least ${LEAST_CHARACTERS} characters`)
    .describe("Only as a stack secret (`pulumi config set --secret --path`)."),
  z.strictObject({
    command: z
      .array(z.string())
      .min(1)
      .describe(
        "Run on the controller when the secret is released; what it prints is the secret, without its last line end.",
      ),
  }),
]);
export type SecretSource = z.output<typeof SecretSourceSchema>;

export const SecretsSchema = z.record(Name, SecretSourceSchema);
