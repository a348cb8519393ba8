import { createPrivateKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { TeeUpError } from "../kit/errors.ts";
import { keepSecret } from "./redact.ts";

/**
 * The key that signs this controller's results: the file that TEEUP_ATTEST_KEY names (PKCS#8 PEM), else one that is made
 * once, `attest-key.pem` in `$XDG_CONFIG_HOME/teeup` or ~/.config/teeup, readable by its owner alone.
 * Rejects with TeeUpError `attest.key`.
 */
export async function signingKey(env: NodeJS.ProcessEnv): Promise<KeyObject> {
  const named = env["TEEUP_ATTEST_KEY"];
  const file =
    named || join(env["XDG_CONFIG_HOME"] || join(env["HOME"] || homedir(), ".config"), "teeup", "attest-key.pem");
  try {
    return createPrivateKey(await read(file, named !== undefined && named !== ""));
  } catch (error) {
    throw new TeeUpError({
      code: "attest.key",
      subject: file,
      saw: `results cannot be signed: ${(error as Error).message}`,
      next: "openssl genpkey -algorithm ed25519 -out key.pem, then TEEUP_ATTEST_KEY=key.pem",
    });
  }
}

async function read(file: string, named: boolean): Promise<string> {
  const pem = await readFile(file, "utf8").catch(async (error: NodeJS.ErrnoException) => {
    if (named || error.code !== "ENOENT") throw error;
    const made = generateKeyPairSync("ed25519").privateKey.export({ format: "pem", type: "pkcs8" }).toString();
    await mkdir(dirname(file), { recursive: true, mode: 0o700 });
    // Of two processes that come here at once, the first one's is kept.
    await writeFile(file, made, { mode: 0o600, flag: "wx" }).catch((failed: NodeJS.ErrnoException) => {
      if (failed.code !== "EEXIST") throw failed;
    });
    return readFile(file, "utf8");
  });
  keepSecret(pem);
  return pem;
}
