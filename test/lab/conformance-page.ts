/** Differences that stay, each with its reason; a difference that is not here fails the tests. */
export const REASONS: readonly (readonly [RegExp, string])[] = [
  [
    /guest-evidence\.mrtd$/,
    "od quotes a name that has a colon, which the twin does not; both end with 1, and TeeUp reads no more of it",
  ],
  [
    /^questions, \w+ · bios\.(boardVendor|board)$/,
    "QEMU's firmware names no board; a server's does, and the twin is a server",
  ],
  [
    /^questions, \w+ · (bios|instance-system)\.uefi$/,
    "the lab's machine starts by BIOS, the twin by UEFI, as servers do",
  ],
];

export interface Row {
  readonly key: string;
  readonly agree: boolean;
  readonly twin: unknown;
  readonly vm: unknown;
  readonly reason: string | undefined;
}

/** One row for each case; one that either side has not answered does not agree. */
export function rowsOf(
  keys: readonly string[],
  twin: Readonly<Record<string, unknown>>,
  vm: Readonly<Record<string, unknown>>,
): Row[] {
  return keys.map((key) => {
    const [a, b] = [twin[key], vm[key]];
    const agree = a !== undefined && b !== undefined && JSON.stringify(a) === JSON.stringify(b);
    const reason = agree ? undefined : REASONS.find(([pattern]) => pattern.test(key))?.[1];
    return { key, agree, twin: a, vm: b, reason };
  });
}

export const rate = (rows: readonly Row[]): number => (100 * rows.filter((row) => row.agree).length) / rows.length;

const cell = (text: string): string => text.replaceAll("|", "\\|").replaceAll("\n", " ");
/** Backticks hold what a name's signs would otherwise mean. */
const code = (text: string): string => (text.includes("`") ? `\`\` ${text} \`\`` : `\`${text}\``);
const kindOf = (answer: unknown): string => {
  const { kind, status, code: error } = (answer ?? {}) as { kind?: string; status?: number; code?: string };
  return [
    kind ?? "nothing",
    ...(status === undefined ? [] : [`${status}`]),
    ...(error === undefined ? [] : [error]),
  ].join(" ");
};

/** docs/conformance.md. */
export function conformancePage(
  rows: readonly Row[],
  kernel: string,
  notAsked: Readonly<Record<string, string>>,
  pending: readonly string[],
): string {
  const topics = [...new Set(rows.map(({ key }) => key.split(" · ")[0] ?? ""))];
  const of = (topic: string) => rows.filter(({ key }) => key.startsWith(`${topic} · `));
  const good = rows.filter((row) => row.agree).length;
  const different = rows.filter((row) => !row.agree);
  return [
    "# Twin and machine",
    "",
    `Written by \`npm run test:lab\` (and by \`npm run conformance\` alone); \`test/lab/conformance-cases.ts\` has the cases. Each is put to the simulated node and to the lab's virtual machine (Debian 12, kernel ${kernel}, real GRUB, systemd, apt, driverctl and VFIO) in the same state and through the same production client. What is compared is the kind of the answer, the exit status, and both outputs, after what differs between any two machines was made alike: the functions there say what that is and why.`,
    "",
    `${good} of ${rows.length} agree: ${rate(rows).toFixed(1)} %. A test on every run compares the twin with what the machine is recorded to have said, and this page with both.`,
    "",
    "| topic | cases | agree |",
    "| --- | ---: | ---: |",
    ...topics.map((topic) => `| ${topic} | ${of(topic).length} | ${of(topic).filter((row) => row.agree).length} |`),
    "",
    "## Differences",
    "",
    "| case | twin | machine | why it stays |",
    "| --- | --- | --- | --- |",
    ...different.map(
      ({ key, twin, vm, reason }) =>
        `| ${cell(code(key))} | ${kindOf(twin)} | ${kindOf(vm)} | ${cell(reason ?? "**not explained**")} |`,
    ),
    ...Object.entries(notAsked).map(([name, why]) => `| ${cell(code(name))} | | not asked | ${cell(why)} |`),
    "",
    ...(pending.length === 0
      ? []
      : [
          "## Not asked yet",
          "",
          "Cases that came after the last recorded run; they count for nothing above.",
          "",
          ...pending.map((key) => `- ${code(key)}`),
          "",
        ]),
    "## Cases",
    "",
    "Each with the answer that both gave: its kind, then the exit status or the error's code.",
    "",
    ...topics.flatMap((topic) => [
      `### ${topic[0]?.toUpperCase() ?? ""}${topic.slice(1)}`,
      "",
      ...of(topic).map(
        ({ key, agree, vm }) => `- ${code(key.slice(topic.length + 3))}: ${agree ? kindOf(vm) : "differs, see above"}`,
      ),
      "",
    ]),
  ].join("\n");
}
