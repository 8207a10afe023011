"use strict";
// Tables sort by their headings and filter by words; the page is whole without this.

const FEW_ROWS = 8; // no filter below

// The first number of a cell, without its sign of "less than"; NaN for words.
const number = (text) => parseFloat(text.replace(/^[<>]/, ""));

function compare(a, b) {
  const [x, y] = [number(a), number(b)];
  if (!Number.isNaN(x) && !Number.isNaN(y)) return x - y;
  if (Number.isNaN(x) !== Number.isNaN(y)) return Number.isNaN(x) ? 1 : -1;
  return a.localeCompare(b);
}

function sortBy(table, column) {
  const heads = [...table.tHead.rows[0].cells];
  const isRising = heads[column].getAttribute("aria-sort") !== "ascending";
  heads.forEach((head) => head.removeAttribute("aria-sort"));
  heads[column].setAttribute("aria-sort", isRising ? "ascending" : "descending");
  const text = (row) => row.cells[column].textContent;
  const rows = [...table.tBodies[0].rows];
  rows.sort((a, b) => (isRising ? 1 : -1) * compare(text(a), text(b)));
  table.tBodies[0].append(...rows);
}

function addFilter(table) {
  const rows = [...table.tBodies[0].rows];
  const bar = document.createElement("div");
  bar.className = "filter";
  bar.innerHTML =
    '<input type="search" placeholder="filter rows" aria-label="Filter the rows of this table by words">' +
    '<span class="count" role="status"></span>';
  const [input, count] = bar.children;
  const show = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      shown += !row.hidden;
    }
    count.textContent = `${shown} of ${rows.length} rows`;
  };
  input.addEventListener("input", show);
  show();
  table.closest(".table").prepend(bar);
}

for (const table of document.querySelectorAll("table")) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    button.addEventListener("click", () => sortBy(table, column));
    head.replaceChildren(button);
  });
  if (table.tBodies[0].rows.length > FEW_ROWS) addFilter(table);
}

// A figure that goes on below fades at its end.
for (const images of document.querySelectorAll(".images")) {
  const fade = () => {
    const rest = images.scrollHeight - images.clientHeight - images.scrollTop;
    images.classList.toggle("more", rest > 8);
  };
  if (images.scrollHeight > images.clientHeight + 8) images.tabIndex = 0; // keys scroll it
  images.addEventListener("scroll", fade);
  addEventListener("load", fade);
  fade();
}

// Paper shows what is unfolded, and says once what columns mean.
addEventListener("beforeprint", () => {
  const told = new Set();
  for (const meanings of document.querySelectorAll(".meanings")) {
    const text = meanings.querySelector("dl").textContent;
    meanings.open = !told.has(text);
    told.add(text);
  }
});
