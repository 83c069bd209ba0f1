// Downloads of each figure's numbers, and the values of its marks: by pointer, or by arrow keys.
for (const figure of document.querySelectorAll("figure[data-figure]")) {
  const data = readData(`data-${figure.dataset.figure}`);
  for (const button of figure.querySelectorAll(".tools button")) {
    button.addEventListener("click", () => download(data.name, data.columns, button.dataset.kind));
  }
  figure.querySelector(".tools").hidden = false;
  const marks = data.x ? data.x.map((x, row) => [x, data.y[row], row]).filter(([x, y]) => x !== null && y !== null) : [];
  if (marks.length) pointable(figure, data, marks);
}

function pointable(figure, data, marks) {
  const frame = figure.querySelector(".frame"), said = figure.querySelector("output");
  let current = -1;
  frame.tabIndex = 0;
  frame.setAttribute("role", "group");
  frame.setAttribute("aria-label", `${data.title}: arrow keys read ${marks.length} values`);
  const dot = document.createElement("span");
  dot.className = "dot";
  dot.hidden = true;
  frame.append(dot);

  const told = (row) => data.columns.map((column) => `${column.name} ${short(cellOf(column, row))}`).join(" · ");
  function point(at, aloud) {
    const [x, y, row] = marks[at], box = frame.getBoundingClientRect();
    current = at;
    dot.hidden = false;
    dot.style.left = `${x / 100}%`;
    dot.style.top = `${y / 100}%`;
    showTip(told(row), box.left + (x / 10_000) * box.width, box.top + (y / 10_000) * box.height);
    if (aloud) said.textContent = told(row);
  }
  function leave() {
    dot.hidden = true;
    hideTip();
  }
  frame.addEventListener("pointermove", (event) => {
    const box = frame.getBoundingClientRect();
    let best = -1, least = 30 ** 2; // pixels
    marks.forEach(([x, y], at) => {
      const squared = ((x / 10_000) * box.width + box.left - event.clientX) ** 2 + ((y / 10_000) * box.height + box.top - event.clientY) ** 2;
      if (squared < least) [best, least] = [at, squared];
    });
    if (best < 0) leave(); else point(best, false);
  });
  frame.addEventListener("pointerleave", leave);
  frame.addEventListener("blur", leave);
  frame.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape") leave();
    if (step === undefined) return;
    event.preventDefault();
    point(Math.max(0, Math.min(marks.length - 1, current + step)), true);
  });
}
