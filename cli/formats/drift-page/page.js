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
  const head = make("tr", "");
  head.append(make("th", "Node"));
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
