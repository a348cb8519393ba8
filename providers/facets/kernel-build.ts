import { collected, ok, text } from "../kit/ask.ts";
import { example } from "../kit/example.ts";
import type { Step } from "../kit/facet.ts";
import { facet } from "../kit/facet.ts";
import type { Fact } from "../kit/facts.ts";
import { known, mapFact, unknown, valueIfKnown } from "../kit/facts.ts";
import { ARTIFACTS_DIR, CPU_COUNT, download, job } from "../kit/host.ts";
import { judgeFact } from "../kit/judge.ts";
import type { KernelBuild } from "../kit/kernel-build.ts";
import {
  buildLines,
  KernelBuildSchema,
  packageFile,
  RECIPE_DRAFT,
  recipeFile,
  recipeText,
} from "../kit/kernel-build.ts";
import { parseGrepLines, parseSha256sum } from "../kit/parse-packages.ts";

const SOURCE = "seed 001, Preparing to Build the Kernel and Modifying the Kernel";
const HOUR = 3600;

interface Facts {
  /** File name in the artifacts folder → sha256. */
  readonly packages: Fact<Readonly<Record<string, string>>>;
  /** File name → recipe it was built from. */
  readonly recipes: Fact<Readonly<Record<string, string>>>;
  readonly cores: Fact<number>;
}

const names = <T>(files: Readonly<Record<string, T>>) =>
  Object.fromEntries(Object.entries(files).map(([path, value]) => [path.slice(path.lastIndexOf("/") + 1), value]));

/** The package is the one wanted: by sum when it was built elsewhere, else by the recipe beside it. */
function built(want: KernelBuild, facts: Facts): Fact<boolean> {
  if (facts.packages.state === "unknown") return facts.packages;
  const sum = valueIfKnown(facts.packages)?.[packageFile(want)];
  if (want.artifact !== undefined) return known(sum === want.artifact.sha256);
  if (facts.recipes.state === "unknown") return facts.recipes;
  return known(sum !== undefined && `${valueIfKnown(facts.recipes)?.[recipeFile(want)]}\n` === recipeText(want));
}

/** The host kernel as a package, built from pinned sources or fetched from where it was built. */
export const kernelBuild = facet({
  name: "kernel-build",
  type: "KernelBuild",
  on: "host",
  persona: "host",
  summary: "A kernel package built from pinned sources and patches; built once, installed on many nodes.",
  sources: [SOURCE, "AMDESE/AMDSEV branch sev-snp-devel, common.sh", "seed 004, tdx-kvm"],
  want: KernelBuildSchema,
  asks: {
    packages: {
      kind: "argv",
      argv: ["find", ARTIFACTS_DIR, "-maxdepth", "1", "-name", "linux-image-*.deb", "-exec", "sha256sum", "{}", "+"],
      timeoutSeconds: 60,
    },
    recipes: { kind: "argv", argv: ["grep", "-rH", "", ARTIFACTS_DIR, "--include=*.recipe.json"] },
    cores: CPU_COUNT,
  },
  parse: (a): Facts => ({
    packages: mapFact(collected(a.packages), (stdout) => names(parseSha256sum(stdout))),
    recipes: mapFact(collected(a.recipes), (stdout) =>
      Object.fromEntries(
        Object.entries(names(parseGrepLines(stdout))).map(([name, lines]) => [name, lines.join("\n")]),
      ),
    ),
    cores: (() => {
      const cores = mapFact(text(a.cores), Number);
      return cores.state === "known" && !(cores.value >= 1) ? unknown("nproc printed no number") : cores;
    })(),
  }),
  judge: (want, facts) => [
    judgeFact(built(want, facts), {
      code: "kernel-build.package",
      want: `${packageFile(want)} ${want.artifact === undefined ? `from commit ${want.source.commit.slice(0, 12)}` : `with sha256 ${want.artifact.sha256.slice(0, 12)}…`}`,
      hint: "teeup builds or fetches it with the next up",
      source: SOURCE,
      good: (is) => is,
      show: (is) => (is ? `${ARTIFACTS_DIR}/${packageFile(want)}` : `no such package in ${ARTIFACTS_DIR}`),
    }),
  ],
  plan: (want, facts): Step[] => {
    const cores = valueIfKnown(facts.cores);
    if (cores === undefined || valueIfKnown(built(want, facts)) !== false) return [];
    const { artifact } = want;
    const target = `${ARTIFACTS_DIR}/${packageFile(want)}`;
    if (artifact === undefined) {
      const recipe = { do: "write", path: RECIPE_DRAFT, content: recipeText(want) } as const;
      const title = `build kernel ${want.release} from ${want.source.url} at ${want.source.commit.slice(0, 12)}`;
      const actions = [recipe, ...job("kernel-build", buildLines(want, cores), 4 * HOUR)];
      return [{ code: "kernel-build.build", title, why: "the package is missing", disruption: "none", actions }];
    }
    const sum = `${artifact.sha256}  ${target}.new\n`;
    const fetched = artifact.from.startsWith("/") ? undefined : download(artifact.from, artifact.sha256);
    const lines = [
      ...(fetched?.lines ?? []),
      { argv: ["install", "-D", "-m", "0644", fetched?.file ?? artifact.from, `${target}.new`] },
      { argv: ["sha256sum", "--check", "--strict", `${target}.new.sha256`] },
      { argv: ["mv", "-f", `${target}.new`, target] },
    ] as const;
    return [
      {
        code: "kernel-build.fetch",
        title: `fetch kernel ${want.release} from ${artifact.from}`,
        why: "the package is missing or differs from the wanted one",
        disruption: "none",
        actions: [
          ...(fetched === undefined ? [] : [fetched.checks]),
          { do: "write", path: `${target}.new.sha256`, content: sum },
          ...job("kernel-fetch", lines, HOUR),
        ],
      },
    ];
  },
  show: (facts) => ({ packages: valueIfKnown(facts.packages) ?? {} }),
  examples: (() => {
    const git = { url: "https://example.org/linux.git", commit: "0123456789abcdef0123456789abcdef01234567" };
    const want = KernelBuildSchema.parse({ release: "5.19.0-rc6-snp", base: "5.19.0-rc6", source: git, version: "1" });
    const sum = "ab".repeat(32);
    const deb = ok(`${sum}  ${ARTIFACTS_DIR}/${packageFile(want)}\n`);
    const recipe = ok(`${ARTIFACTS_DIR}/${recipeFile(want)}:${recipeText(want)}`);
    const cores = ok("64\n");
    const elsewhere = { ...want, artifact: { from: "/srv/linux.deb", sha256: "cd".repeat(32) } };
    return [
      example("built from this recipe", want, { packages: deb, recipes: recipe, cores }),
      example(
        "untouched",
        want,
        { packages: ok("", 1), recipes: ok("", 2), cores },
        ["kernel-build.package"],
        ["kernel-build.build"],
      ),
      example(
        "another sum",
        elsewhere,
        { packages: deb, recipes: recipe, cores },
        ["kernel-build.package"],
        ["kernel-build.fetch"],
      ),
      example("no answer", want, { packages: { kind: "failed", why: "timeout" }, cores }, ["kernel-build.package"]),
    ];
  })(),
  covers: [
    "000-06",
    ...Array.from({ length: 18 }, (_, i) => `001-HOST-${String(i + 9).padStart(2, "0")}`),
    ...["04", "05", "07", "08", "09", 10, 11, 12, 13, 21, 22, 23, 24, 25].map((n) => `004-${n}`),
  ],
});
