"use strict";
document.querySelectorAll("table.sortable").forEach(function (table) {
  const heads = Array.from(table.tHead.rows[0].cells);
  const body = table.tBodies[0];
  heads.forEach(function (head, column) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    button.title = "Sort by this column";
    head.textContent = "";
    head.appendChild(button);
    button.addEventListener("click", function () {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach(function (other) { other.removeAttribute("aria-sort"); });
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const rows = Array.from(body.rows);
      rows.sort(function (a, b) {
        const one = a.cells[column], two = b.cells[column];
        const left = one.dataset.key, right = two.dataset.key;
        if (left !== undefined && right !== undefined) {
          return up ? left - right : right - left;
        }
        if (left !== undefined || right !== undefined) {
          return left !== undefined ? -1 : 1;
        }
        const order = one.textContent.localeCompare(two.textContent, "en", { numeric: true });
        return up ? order : -order;
      });
      rows.forEach(function (row) { body.appendChild(row); });
    });
  });
});
// on a phone a wide figure is small: its reader may have it at a size to scroll in
document.querySelectorAll("main section:not(.short) > figure").forEach(function (figure) {
  const card = figure.querySelector(".card");
  const button = document.createElement("button");
  button.type = "button";
  button.className = "larger";
  button.textContent = "Larger";
  button.setAttribute("aria-pressed", "false");
  button.addEventListener("click", function () {
    const large = card.classList.toggle("large");
    button.setAttribute("aria-pressed", String(large));
    card.tabIndex = large ? 0 : -1;
  });
  figure.querySelector("figcaption").prepend(button, " ");
});
window.addEventListener("beforeprint", function () {
  document.querySelectorAll("details").forEach(function (each) { each.open = true; });
});
