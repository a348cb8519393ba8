/**
 * Puts the twin's test roots beside the pinned ones, for the demo and for tests that run the real program on a twin:
 *
 *     TEEUP_TWIN_ANCHORS=roots.json node --import ./sim/attest/preload.ts cli/main.ts …
 *
 * It replaces the module that holds the roots while Node loads it. The program itself has no place where a root could be
 * put in, and the package has neither this file nor anything that names it: whoever can make a controller preload code
 * has that controller anyway.
 */
import { readFileSync } from "node:fs";
import { registerHooks } from "node:module";

const file = process.env["TEEUP_TWIN_ANCHORS"];
if (file === undefined) throw new Error("TEEUP_TWIN_ANCHORS has to name the twin's roots");
const { snp = {}, tdx } = JSON.parse(readFileSync(file, "utf8")) as { snp?: object; tdx?: object };
const anchors = new URL("../../providers/attest/anchors.ts", import.meta.url).href;

registerHooks({
  load(url, context, nextLoad) {
    if (url !== anchors) return nextLoad(url, context);
    process.stderr.write("TEST ROOTS of a twin are trusted beside the vendors' own.\n");
    const source = `
      import { loadAnchor, RELEASE_ANCHORS as release } from ${JSON.stringify(`${anchors}?release`)};
      export { loadAnchor };
      export const RELEASE_ANCHORS = {
        snp: { ...release.snp, ...${JSON.stringify(snp)} },
        tdx: ${tdx === undefined ? "release.tdx" : JSON.stringify(tdx)},
      };`;
    return { format: "module", source, shortCircuit: true };
  },
});
