"use strict";
// A node of the graph leads to its row, which is marked and takes the focus.
for (const link of document.querySelectorAll("svg a[href^='#layer-']")) {
  link.addEventListener("click", (event) => {
    const row = document.getElementById(link.getAttribute("href").slice(1));
    if (!row) return;
    event.preventDefault();
    document.querySelectorAll("tr.here").forEach((r) => r.classList.remove("here"));
    row.classList.add("here");
    row.tabIndex = -1;
    row.focus({ preventScroll: true });
    row.scrollIntoView({ block: "center" });
  });
}
