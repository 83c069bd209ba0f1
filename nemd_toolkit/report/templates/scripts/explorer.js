// Looks into one clustering: every pair as a matrix and a histogram, the sizes, any two clouds.
class Explorer {
  constructor(section, data) {
    this.section = section;
    this.data = data;
    const bytes = Uint8Array.from(atob(data.points), (letter) => letter.charCodeAt(0));
    this.points = new DataView(bytes.buffer);
    this.log = this.part("log");
    this.picked = [0, 1]; // places of the two prototypes
    section.hidden = false;
    section.querySelector(".tools").hidden = false;
    data.clusterings.forEach((each, at) => this.part("clustering").append(new Option(each.name, at)));
    this.listen();
    this.choose(0);
  }

  part(name) {
    return this.section.querySelector(`[data-part="${name}"]`);
  }

  listen() {
    this.part("clustering").addEventListener("change", (event) => this.choose(Number(event.target.value)));
    for (const name of ["column", "log"]) this.part(name).addEventListener("change", () => this.draw());
    for (const name of ["first", "second"]) {
      this.part(name).addEventListener("change", () => this.pick(Number(this.part("first").value), Number(this.part("second").value)));
    }
    const matrix = this.part("matrix");
    matrix.addEventListener("pointermove", (event) => showTip(this.cellText(...this.under(event)), event.clientX, event.clientY));
    matrix.addEventListener("pointerleave", hideTip);
    matrix.addEventListener("click", (event) => this.pick(...this.under(event)));
    matrix.addEventListener("keydown", (event) => this.step(event));
    for (const button of this.section.querySelectorAll(".tools button")) {
      button.addEventListener("click", () => download(`pairs ${this.shown.name}`, this.table(), button.dataset.kind));
    }
    for (const button of document.querySelectorAll("button[data-look]")) this.listenTo(button);
  }

  // A button in the table of prototypes: shows that one beside the nearest.
  listenTo(button) {
    const [name, number] = JSON.parse(button.dataset.look), { clusterings } = this.data;
    const at = clusterings.findIndex((each) => each.name === name);
    const place = at < 0 ? -1 : clusterings[at].which.indexOf(number);
    button.hidden = place < 0; // none of its pairs is in the page
    button.addEventListener("click", () => {
      this.part("clustering").value = at;
      this.choose(at);
      this.pick(place, this.nearest(place));
      this.section.querySelector("h3").scrollIntoView({ block: "start" });
      this.part("first").focus({ preventScroll: true });
    });
  }

  choose(at) {
    const c = this.data.clusterings[at];
    this.shown = c;
    this.pairs = new Map(c.p.map((p, pair) => [this.key(p, c.q[pair]), pair]));
    for (const name of ["first", "second"]) {
      this.part(name).replaceChildren(...c.names.map((each, place) => new Option(`${each} (${short(c.sizes[place])} members)`, place)));
    }
    const some = (part, all, what) => (part < all ? `${short(part)} of ${short(all)} ${what}` : `all ${short(all)} ${what}`);
    this.part("said").textContent =
      `Shown: ${some(c.p.length, c.measured, "measured pairs")}, ${some(c.which.length, c.used, "prototypes in use")}; n=${c.n} points a cloud.`;
    const closest = c.excess.indexOf(Math.min(...c.excess));
    this.picked = [c.p[closest], c.q[closest]];
    this.draw();
    this.pick(...this.picked);
  }

  key(i, j) {
    return Math.min(i, j) * this.shown.which.length + Math.max(i, j);
  }

  pairOf(i, j) {
    return this.pairs.get(this.key(i, j));
  }

  score(excess) {
    const { excess_uniform: uniform, excess_collapsed: collapsed } = this.shown;
    return (excess - uniform) / (collapsed - uniform);
  }

  values() {
    return this.column === "score" ? this.shown.excess.map((excess) => this.score(excess)) : this.shown[this.column];
  }

  get column() {
    return this.part("column").value;
  }

  draw() {
    const c = this.shown, values = this.values();
    const [low, high] = drawMatrix(this.part("matrix"), c.which.length, c.p, c.q, values);
    this.part("low").textContent = short(low);
    this.part("high").textContent = short(high);
    const noise = { score: 0, excess: c.excess_uniform, raw: c.raw_uniform, energy: null }[this.column];
    const points = this.column === "score" ? 1 : c.excess_collapsed;
    drawHistogram(this.part("histogram"), values, [[noise, "noise"], [points, "points"]], `${this.column} of a pair`, this.log.checked);
    drawSizes(this.part("sizes"), c.sizes, (at) => this.cellText(at, at), (at) => this.pick(at, this.nearest(at)), this.log.checked);
  }

  cellText(i, j) {
    const c = this.shown;
    if (i === j) return `prototype ${c.names[i]}: ${short(c.sizes[i])} members, resultant ${short(c.resultants[i])}`;
    const pair = this.pairOf(i, j);
    return `prototypes ${c.names[i]} and ${c.names[j]}: ` + (pair === undefined ? "not measured" : `${this.column} ${short(this.values()[pair])}`);
  }

  // The prototype whose measured pair with the one at `place` has the least excess.
  nearest(place) {
    const c = this.shown;
    let [best, least] = [place ? 0 : 1, Infinity];
    c.excess.forEach((excess, pair) => {
      const [p, q] = [c.p[pair], c.q[pair]];
      if ((p === place || q === place) && excess < least) [best, least] = [p === place ? q : p, excess];
    });
    return best;
  }

  under(event) {
    const box = this.part("matrix").getBoundingClientRect(), size = this.shown.which.length;
    return [(event.clientY - box.top) / box.height, (event.clientX - box.left) / box.width]
      .map((share) => Math.max(0, Math.min(size - 1, Math.floor(share * size))));
  }

  step(event) {
    const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    this.pick(...this.picked.map((at, axis) => Math.max(0, Math.min(this.shown.which.length - 1, at + step[axis]))));
    this.part("cell-said").textContent = this.cellText(...this.picked);
  }

  pick(i, j) {
    this.picked = [i, j];
    this.part("first").value = i;
    this.part("second").value = j;
    const size = 100 / this.shown.which.length;
    Object.assign(this.part("cell").style, { width: `${size}%`, height: `${size}%`, left: `${j * size}%`, top: `${i * size}%` });
    this.tell(i, j);
    this.drawPair(i, j);
  }

  tell(i, j) {
    const c = this.shown, pair = this.pairOf(i, j);
    const facts = pair === undefined
      ? [["pair", i === j ? "one prototype twice: choose another" : "not measured, or not in the page"]]
      : [["score", short(this.score(c.excess[pair]))], ["excess W1", short(c.excess[pair])], ["raw W1", short(c.raw[pair])], ["energy", short(c.energy[pair])]];
    for (const [name, column] of [["members", c.sizes], ["resultants", c.resultants]]) facts.push([name, `${short(column[i])}, ${short(column[j])}`]);
    this.part("numbers").replaceChildren(...facts.map(([name, value]) => {
      const [group, term, detail] = ["div", "dt", "dd"].map((kind) => document.createElement(kind));
      [term.textContent, detail.textContent] = [name, value];
      group.append(term, detail);
      return group;
    }));
  }

  drawPair(i, j) {
    const c = this.shown, { axes, step, explained } = this.data;
    const rows = [i, j].map((at) => c.owner.flatMap((owner, row) => (owner === at ? [row] : [])));
    const vector = (row) => Array.from({ length: axes }, (_, axis) => this.points.getInt16(2 * (row * axes + axis), true) * step);
    drawClouds(this.part("clouds"), rows.map((some) => some.map(vector)), [i, j].map((at) => `prototype ${c.names[at]}`));
    this.part("clouds-said").textContent =
      `${rows[0].length} of ${short(c.sizes[i])} and ${rows[1].length} of ${short(c.sizes[j])} members; ` +
      `the ${axes} principal axes that they are drawn from hold ${Math.round(100 * explained)} % of the variance.`;
  }

  table() {
    const c = this.shown, ends = [["p", c.p], ["q", c.q]];
    return [
      ...ends.map(([name, places]) => ({ name, values: places.map((at) => c.names[at]) })),
      ...["raw", "excess", "energy"].map((name) => ({ name, values: c[name] })),
      { name: "score", values: c.excess.map((excess) => this.score(excess)) },
    ];
  }
}

const explored = readData("data-explorer");
if (explored !== null) new Explorer(document.getElementById("explorer"), explored);
