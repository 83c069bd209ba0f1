// Small charts as SVG: marks that tell their values, an axis of counts, linear or logarithmic.
function element(kind, attributes, parent, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", kind);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
}

function clearedTo(svg, width, height) {
  svg.replaceChildren();
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
}

function tellsAtPointer(shape, text) {
  shape.addEventListener("pointermove", (event) => showTip(text, event.clientX, event.clientY));
  shape.addEventListener("pointerleave", hideTip);
}

// Draws the grid of counts up to `most`, and gives the place of a count.
function countAxis(svg, { most, left, right, top, bottom, logarithmic }) {
  const share = logarithmic ? (count) => Math.log10(1 + count) / Math.log10(1 + most) : (count) => count / most;
  const y = (count) => bottom - share(count) * (bottom - top);
  const powers = [0, 1, 10, 100, 1_000, 10_000, 100_000].filter((tick) => 2 * tick < most);
  for (const tick of new Set(logarithmic ? [...powers, most] : [0, Math.round(most / 2), most])) {
    element("line", { x1: left, x2: right, y1: y(tick), y2: y(tick), class: "grid" }, svg);
    element("text", { x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, svg, short(tick));
  }
  return y;
}

// anchors: [value or null, name] of the lines that values are read against.
function drawHistogram(svg, values, anchors, title, logarithmic) {
  const [width, height, left, right, top, bottom, bins] = [480, 250, 48, 468, 26, 210, 40];
  const lines = anchors.filter(([value]) => value !== null), ends = [...values, ...lines.map(([value]) => value)];
  const low = Math.min(...ends), span = Math.max(Math.max(...ends) - low, 1e-9);
  const counts = new Array(bins).fill(0);
  for (const value of values) counts[Math.min(bins - 1, Math.floor(((value - low) / span) * bins))] += 1;
  clearedTo(svg, width, height);
  const x = (value) => left + ((value - low) / span) * (right - left);
  const y = countAxis(svg, { most: Math.max(...counts), left, right, top, bottom, logarithmic });
  counts.forEach((count, at) => {
    if (!count) return;
    const [from, to] = [at, at + 1].map((edge) => low + (edge * span) / bins);
    const bar = { x: x(from), y: y(count), width: x(to) - x(from) - 1, height: bottom - y(count), class: "bar" };
    tellsAtPointer(element("rect", bar, svg), `${short(from)} … ${short(to)}: ${short(count)} pairs`);
  });
  for (const [value, name] of lines) {
    const line = element("line", { x1: x(value), x2: x(value), y1: top - 6, y2: bottom, class: `anchor ${name}` }, svg);
    tellsAtPointer(line, `${name}: ${short(value)}`);
    const side = x(value) > width - 60 ? "end" : x(value) < 60 ? "start" : "middle";
    element("text", { x: x(value), y: 14, "text-anchor": side }, svg, name);
  }
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    const value = low + share * span;
    element("text", { x: x(value), y: bottom + 16, "text-anchor": share === 1 ? "end" : "middle" }, svg, short(value));
  }
  element("text", { x: (left + right) / 2, y: height - 6, "text-anchor": "middle" }, svg, title);
}

// Bars, largest first; `told` and `pressed` take the place of a prototype.
function drawSizes(svg, sizes, told, pressed, logarithmic) {
  const [width, height, left, right, top, bottom] = [480, 210, 48, 468, 12, 180];
  const order = sizes.map((_, at) => at).sort((a, b) => sizes[b] - sizes[a]);
  clearedTo(svg, width, height);
  const y = countAxis(svg, { most: sizes[order[0]], left, right, top, bottom, logarithmic });
  const step = (right - left) / order.length, gap = step > 3 ? 1 : 0;
  order.forEach((at, rank) => {
    const bar = { x: left + rank * step, y: y(sizes[at]), width: Math.max(0.5, step - gap), height: bottom - y(sizes[at]), class: "bar" };
    const shape = element("rect", bar, svg);
    tellsAtPointer(shape, told(at));
    shape.addEventListener("click", () => pressed(at));
  });
  element("text", { x: (left + right) / 2, y: height - 8, "text-anchor": "middle" }, svg, "prototypes, largest first");
}
