// Keeps the rows of a table that hold what is typed, and says how many those are.
for (const box of document.querySelectorAll(".filter")) {
  const input = box.querySelector("input"), said = box.querySelector("output");
  const rows = [...document.getElementById(input.getAttribute("aria-controls")).tBodies[0].rows];
  box.hidden = false;
  input.addEventListener("input", () => {
    const wanted = input.value.trim().toLowerCase();
    let kept = 0;
    for (const row of rows) {
      row.hidden = !row.textContent.toLowerCase().includes(wanted);
      kept += !row.hidden;
    }
    said.textContent = wanted ? `${kept} of ${rows.length} rows` : "";
  });
}
