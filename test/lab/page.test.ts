import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { type Browser, launch, type Page } from "puppeteer-core";
import type { DriftReport, NodeDrift } from "../../cli/formats/drift-facts.ts";
import { driftHtml } from "../../cli/formats/drift-html.ts";
import type { ScanStatus } from "../../providers/kit/scan.ts";
import { BROWSER, BROWSER_PACKAGES, whatIsMissing } from "../../tools/debian.ts";

/** The page of a fleet's drift in a real browser. The fleet is synthetic: 60 nodes, of every status, and one that attacks. */
const ATTACK = `</script><script>document.title="owned"</script><img src=x onerror="document.title='owned'">`;
const FACETS = ["bios", "kernel-cmdline", "module-options", "gpu-cc-mode", "attestation"];

const facet = (name: string, status: ScanStatus, saw: string): NodeDrift["facets"][number] => ({
  facet: name,
  status,
  findings:
    status === "clean" ? [] : [{ code: `${name}.x`, level: "fail", want: "it", saw, hint: "up", source: "seed 001" }],
  steps: [],
});
const node = (n: number): NodeDrift => {
  const status: ScanStatus =
    n % 10 === 1 ? "drifted" : n % 20 === 2 ? "unreachable" : n % 20 === 12 ? "broken" : "clean";
  const own = { stack: `rack${n % 3}`, node: `gpu-${n}`, labels: { rack: `r${n % 3}`, row: `${n % 2}` }, status };
  if (status === "unreachable")
    return { ...own, facets: [], error: { code: "node.unreachable", saw: ATTACK, next: "ssh -v" } };
  return { ...own, facets: FACETS.map((name) => facet(name, name === "module-options" ? status : "clean", ATTACK)) };
};
const scanAt = (at: string, wanted: (status: ScanStatus) => ScanStatus): DriftReport => ({
  version: 1,
  at,
  seconds: 10,
  nodes: Array.from({ length: 60 }, (_, n) => ({ ...node(n), status: wanted(node(n).status) })).slice(
    at > "2026-11-19" ? 0 : 1,
  ),
  missing: [],
});
const report: DriftReport = {
  version: 1,
  at: "2026-11-20T10:00:00.000Z",
  seconds: 12.5,
  nodes: Array.from({ length: 60 }, (_, n) => node(n)),
  missing: ["shard 3/3"],
};

let folder: string;
let browser: Browser;
let page: Page;
const asked: string[] = [];
const complaints: string[] = [];

beforeAll(async () => {
  expect(whatIsMissing(BROWSER_PACKAGES)).toBeUndefined();
  folder = mkdtempSync(join(tmpdir(), "teeup-page-"));
  const file = join(folder, "drift.html");
  writeFileSync(file, driftHtml(report));
  browser = await launch({ executablePath: BROWSER, args: ["--no-sandbox"], userDataDir: join(folder, "profile") });
  page = await browser.newPage();
  await page.setViewport({ width: 1200, height: 800 });
  page.on("request", (request) => asked.push(request.url()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => complaints.push(message.text()));
  await page.goto(pathToFileURL(file).href);
}, 300_000);
afterAll(async () => {
  await browser?.close();
  rmSync(folder, { recursive: true, force: true });
});

const rows = () => page.$$eval("tbody tr", (all) => all.map((row) => row.getAttribute("data-node")));
const nodesOf = (wanted: (n: NodeDrift) => boolean) => report.nodes.filter(wanted).map((n) => `${n.stack}/${n.node}`);

test("the matrix has every node and facet, and the missing part is said", async () => {
  expect(await rows()).toEqual(nodesOf(() => true));
  expect(await page.$$eval("thead th", (all) => all.map((th) => th.textContent))).toEqual(["Node", ...FACETS]);
  expect(await page.$eval("#summary", (p) => p.textContent)).toContain("No result of shard 3/3.");
  const drifted = nodesOf(({ status }) => status === "drifted").length;
  expect(await page.$$eval("td button[data-status=drifted]", (all) => all.length)).toBe(drifted);
});

test("the filter takes words and statuses, both at once", async () => {
  await page.type("#text", "rack=r1 row=1");
  const [fits, drifted] = [
    (n: NodeDrift) => n.labels["rack"] === "r1" && n.labels["row"] === "1",
    (n: NodeDrift) => n.status === "drifted",
  ];
  expect(await rows()).toEqual(nodesOf(fits));
  for (const status of ["clean", "unreachable", "broken"]) await page.click(`[data-filter=${status}]`);
  expect(await rows()).toEqual(nodesOf((n) => fits(n) && drifted(n)));
  expect((await rows()).length).toBeGreaterThan(0);
  await page.type("#text", " nowhere");
  expect(await rows()).toEqual([]);
  expect(await page.$eval("#none", (p) => p.getAttribute("hidden"))).toBeNull();
  // As a person empties the field.
  await page.click("#text", { count: 3 });
  await page.keyboard.press("Backspace");
  for (const status of ["clean", "unreachable", "broken"]) await page.click(`[data-filter=${status}]`);
  expect(await rows()).toHaveLength(60);
});

test("a click shows what was seen, as text and as nothing else", async () => {
  await page.click("td button[data-status=drifted]");
  const detail = () => page.$eval("#detail", (aside) => [aside.textContent, aside.childElementCount]);
  expect(await detail()).toEqual([expect.stringContaining(`saw    ${ATTACK}`), 0]);
  await page.click("tr[data-status=unreachable] th");
  expect(await detail()).toEqual([expect.stringContaining(`${ATTACK} [node.unreachable]`), 0]);
  expect(await page.title()).toBe("TeeUp: drift");
  // The page itself, and nothing else was asked for; nothing was complained about.
  expect(asked).toHaveLength(1);
  expect(complaints).toEqual([]);
});

test("with earlier scans it shows a bar for each, and each node's way through them", async () => {
  const earlier = [
    scanAt("2026-11-19T10:00:00.000Z", (status) => (status === "broken" ? "clean" : status)),
    scanAt("2026-11-18T10:00:00.000Z", () => "clean"),
  ];
  const file = join(folder, "trend.html");
  writeFileSync(file, driftHtml(report, earlier));
  const other = await browser.newPage();
  other.on("request", (request) => asked.push(request.url()));
  other.on("pageerror", (error) => complaints.push(String(error)));
  other.on("console", (message) => complaints.push(message.text()));
  await other.goto(pathToFileURL(file).href);
  const bars = await other.$$eval("#trend g", (all) =>
    all.map((bar) => [
      bar.getAttribute("data-scan"),
      [...bar.querySelectorAll("rect")].map((rect) => Number(rect.getAttribute("data-count"))),
    ]),
  );
  const count = (status: ScanStatus) => nodesOf((n) => n.status === status).length;
  const [clean, drifted, unreachable, broken] = (["clean", "drifted", "unreachable", "broken"] as const).map(count);
  expect(bars).toEqual([
    ["2026-11-18T10:00:00.000Z", [59, 0, 0, 0]],
    ["2026-11-19T10:00:00.000Z", [(clean ?? 0) + (broken ?? 0), drifted, unreachable, 0]],
    ["2026-11-20T10:00:00.000Z", [clean, drifted, unreachable, broken]],
  ]);
  // As high as its part of the fleet.
  const heights = await other.$$eval("#trend g:last-of-type rect", (all) =>
    all.map((rect) => rect.getBoundingClientRect().height),
  );
  expect(heights.map((height) => Math.round((height / 90) * 60))).toEqual([clean, drifted, unreachable, broken]);
  const trails = await other.$$eval("tbody tr", (all) =>
    all.map((row) => [...row.querySelectorAll("td.trail i")].map((box) => box.className)),
  );
  expect([trails[0], trails[1], trails[12]]).toEqual([
    ["none", "clean", "clean"],
    ["clean", "drifted", "drifted"],
    ["clean", "clean", "broken"],
  ]);
  expect(await other.$eval("#trend", (figure) => figure.hasAttribute("hidden"))).toBe(false);
  expect(await page.$eval("#trend", (figure) => figure.hasAttribute("hidden"))).toBe(true);
  expect([asked.length, complaints]).toEqual([2, []]);
  await other.close();
});

test("it is seen: a screenshot has the colours of all four statuses", async () => {
  const shot = await page.screenshot({ type: "png" });
  expect(shot.length).toBeGreaterThan(10_000);
  const colours = await page.evaluate(
    "[...new Set([...document.querySelectorAll('i')].map((i) => getComputedStyle(i).backgroundColor))]",
  );
  expect(colours).toHaveLength(4);
});
