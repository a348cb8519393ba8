// Runs in the page of drift-html.ts. Text of a machine becomes text of the page, never markup.
(() => {
  const SIGNS = { clean: "✓", drifted: "✗", unreachable: "?", broken: "!" };
  const at = (id) => document.getElementById(id);
  const make = (tag, text, set = {}) => {
    const made = document.createElement(tag);
    made.textContent = text;
    for (const [name, value] of Object.entries(set)) made.setAttribute(name, value);
    return made;
  };
  const report = JSON.parse(at("data").textContent ?? "");
  const statuses = Object.keys(SIGNS);
  const facets = [...new Set(report.nodes.flatMap((node) => node.facets.map((facet) => facet.facet)))];
  const shown = new Set(statuses);

  const count = (status) => report.nodes.filter((node) => node.status === status).length;
  const missing = report.missing.length === 0 ? "" : ` No result of ${report.missing.join(", ")}.`;
  at("summary").textContent = `${report.nodes.length} nodes, scanned at ${report.at} in ${report.seconds} s.${missing}`;
  for (const status of statuses) {
    const label = make("label", "");
    const box = make("input", "", { type: "checkbox", checked: "", "data-filter": status });
    box.addEventListener("change", () => {
      if (box.checked) shown.add(status);
      else shown.delete(status);
      draw();
    });
    label.append(box, make("i", `${SIGNS[status]} ${count(status)} ${status}`, { class: status }));
    at("statuses").append(label, " ");
  }
  const { trend } = report;
  const drawing = (tag, set) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(set)) made.setAttribute(name, String(value));
    return made;
  };
  const BAR = { width: 22, gap: 4, height: 90 };
  if (trend !== undefined) {
    // A bar for each scan, as high as the fleet was large, of what was well at the bottom and what was not above it.
    const most = Math.max(1, ...trend.scans.map(({ counts }) => statuses.reduce((sum, name) => sum + counts[name], 0)));
    const svg = document.querySelector("#trend svg");
    svg.setAttribute("width", String(trend.scans.length * (BAR.width + BAR.gap)));
    svg.setAttribute("height", String(BAR.height));
    trend.scans.forEach(({ at: when, counts, missing: gaps }, n) => {
      const bar = drawing("g", { "data-scan": when });
      const said = statuses.map((name) => `${counts[name]} ${name}`).join(", ");
      const title = drawing("title", {});
      title.textContent = `${when}: ${said}${gaps.length === 0 ? "" : `; no result of ${gaps.join(", ")}`}`;
      bar.append(title);
      let y = BAR.height;
      for (const name of statuses) {
        const height = (counts[name] / most) * BAR.height;
        y -= height;
        const box = {
          x: n * (BAR.width + BAR.gap),
          y,
          width: BAR.width,
          height,
          class: name,
          "data-count": counts[name],
        };
        bar.append(drawing("rect", box));
      }
      svg.append(bar);
    });
    const [first, last] = [trend.scans[0], trend.scans.at(-1)];
    document.querySelector("#trend figcaption").textContent =
      `${trend.scans.length} scans, ${first.at} to ${last.at}: ${first.counts.clean} clean then, ${last.counts.clean} now.`;
    at("trend").hidden = false;
  }
  /** A box for each scan of the node. */
  const trail = (signs) => {
    const cell = make("td", "", { class: "trail" });
    [...signs].forEach((sign, n) => {
      const status = statuses.find((name) => name.startsWith(sign));
      const title = `${trend.scans[n].at}: ${status ?? "not in this scan"}`;
      cell.append(make("i", "", { class: status ?? "none", title }));
    });
    return cell;
  };

  const head = make("tr", "");
  head.append(make("th", "Node"));
  if (trend !== undefined) head.append(make("th", "Trend"));
  for (const facet of facets) head.append(make("th", facet, { class: "facet", scope: "col" }));
  document.querySelector("thead")?.append(head);

  const describe = (title, facet, error) => {
    const lines = [title];
    if (error !== undefined) lines.push(`${error.saw} [${error.code}]`, `next: ${error.next}`);
    for (const { level, code, want, saw, hint } of facet?.findings ?? [])
      lines.push(
        `${level} ${code}`,
        `  wanted ${want}`,
        `  saw    ${saw}`,
        ...(hint === "" ? [] : [`  fix    ${hint}`]),
      );
    for (const { disruption, title: step } of facet?.steps ?? []) lines.push(`up would: [${disruption}] ${step}`);
    at("detail").textContent = lines.join("\n");
    at("detail").hidden = false;
  };

  const input = at("text");
  function draw() {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    const body = document.querySelector("tbody");
    body.replaceChildren();
    for (const node of report.nodes) {
      const text = [node.stack, node.node, ...Object.entries(node.labels).map(([k, v]) => `${k}=${v}`)].join(" ");
      if (!shown.has(node.status) || !words.every((word) => text.toLowerCase().includes(word))) continue;
      const row = make("tr", "", { "data-node": `${node.stack}/${node.node}`, "data-status": node.status });
      const name = make("th", `${node.stack}/${node.node} `, { scope: "row" });
      const mark = make("i", `${SIGNS[node.status]} ${node.status}`, { class: node.status });
      name.append(mark);
      name.addEventListener("click", () =>
        describe(`${node.stack}/${node.node}: ${node.status}`, undefined, node.error),
      );
      row.append(name);
      if (trend !== undefined) row.append(trail(trend.nodes[`${node.stack}/${node.node}`] ?? ""));
      for (const facet of facets) {
        const cell = make("td", "");
        const seen = node.facets.find((one) => one.facet === facet);
        if (seen !== undefined) {
          const title = `${node.stack}/${node.node}/${facet}: ${seen.status}`;
          const button = make("button", SIGNS[seen.status] ?? "", {
            "data-status": seen.status,
            title,
            type: "button",
          });
          button.addEventListener("click", () => describe(title, seen, seen.error));
          cell.append(button);
        }
        row.append(cell);
      }
      body.append(row);
    }
    at("none").hidden = body.childElementCount > 0;
  }
  input.addEventListener("input", draw);
  at("filter").addEventListener("submit", (event) => event.preventDefault());
  draw();
})();
