// What the other scripts share: numbers as text, one tooltip, tables for download.
document.documentElement.classList.add("js");

const tip = document.createElement("div");
tip.className = "tip";
tip.hidden = true;
document.body.append(tip);

// Shows `text` at a place of the window, wherever it fits.
function showTip(text, left, top) {
  tip.textContent = text;
  tip.hidden = false;
  const box = tip.getBoundingClientRect(), width = document.documentElement.clientWidth;
  const above = top - box.height - 14;
  tip.style.left = `${Math.max(4, Math.min(left - box.width / 2, width - box.width - 4)) + scrollX}px`;
  tip.style.top = `${(above < 4 ? top + 18 : above) + scrollY}px`;
}

function hideTip() {
  tip.hidden = true;
}

function short(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number") return value;
  if (Number.isInteger(value)) return value.toLocaleString("en");
  return Math.abs(value) < 0.001 ? value.toPrecision(2) : value.toLocaleString("en", { maximumFractionDigits: 3 });
}

const cellOf = (column, row) => (column.words ? column.words[column.codes[row]] : column.values[row]);

// As in our CSV files: a text that a spreadsheet would run as a formula begins with '.
function csvCell(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return String(value);
  const guarded = /^[=+\-@\t\r\n]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(guarded) ? `"${guarded.replaceAll('"', '""')}"` : guarded;
}

// columns: [{name, values} or {name, words, codes}].
function download(name, columns, kind) {
  const count = columns.length ? (columns[0].codes ?? columns[0].values).length : 0;
  const rows = Array.from({ length: count }, (_, row) => columns.map((column) => cellOf(column, row)));
  const names = columns.map((column) => column.name);
  const text = kind === "csv"
    ? [names, ...rows].map((row) => row.map(csvCell).join(",") + "\n").join("")
    : JSON.stringify(rows.map((row) => Object.fromEntries(row.map((value, at) => [names[at], value]))), null, 1);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: kind === "csv" ? "text/csv" : "application/json" }));
  link.download = `${name}.${kind}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function readData(id) {
  const found = document.getElementById(id);
  return found === null ? null : JSON.parse(found.textContent);
}
