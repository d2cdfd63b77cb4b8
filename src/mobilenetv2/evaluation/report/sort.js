"use strict";
// Tables can be sorted by a click on a heading; without this script they are as they were written.
for (const head of document.querySelectorAll("table.sortable thead th")) {
  if (!head.textContent) continue;
  const button = document.createElement("button");
  button.textContent = head.textContent;
  head.replaceChildren(button);
  button.addEventListener("click", () => {
    const table = head.closest("table");
    const column = [...head.parentNode.children].indexOf(head);
    const down = head.ariaSort === "ascending";
    for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
    head.ariaSort = down ? "descending" : "ascending";
    const key = (row) => {
      const cell = row.children[column];
      return cell.dataset.value ?? cell.textContent;
    };
    const rows = [...table.tBodies[0].rows].sort((one, other) =>
      key(one).localeCompare(key(other), "en", { numeric: true }));
    table.tBodies[0].append(...(down ? rows.reverse() : rows));
  });
}
