"use strict";
// Sorts the rows by what their attributes hold. "#litres" in the address sorts by litres, "#-litres" the other way round.
const body = document.querySelector("tbody");
const buttons = [...document.querySelectorAll("thead button")];

function valueOf(row, button) {
  const key = button.dataset.key;
  const holder = key in row.dataset ? row : row.querySelector("[data-" + key + "]");
  const value = holder.dataset[key];
  return "text" in button.dataset ? value : value === "" ? null : Number(value);
}

function compare(first, second) {
  return typeof first === "string" ? first.localeCompare(second, "en", { numeric: true }) : first - second;
}

function sortBy(button, turned) {
  const rows = [...body.rows].map((row) => [valueOf(row, button), Number(row.dataset.rank), row]);
  rows.sort(([a, m], [b, n]) => {
    if (a === null || b === null) return (a === null) - (b === null) || m - n;
    return (turned ? compare(b, a) : compare(a, b)) || m - n;
  });
  body.replaceChildren(...rows.map(([, , row]) => row));
  for (const other of buttons) other.parentElement.removeAttribute("aria-sort");
  button.parentElement.setAttribute("aria-sort", turned ? "descending" : "ascending");
}

function sortAsAddressed() {
  const [, turned, key] = /^#(-?)([a-z]*)$/.exec(location.hash) || [];
  const button = buttons.find((each) => each.dataset.key === key);
  if (button) sortBy(button, turned === "-");
}

for (const button of buttons) {
  button.addEventListener("click", () => {
    const turned = button.parentElement.getAttribute("aria-sort") === "ascending";
    history.replaceState(null, "", "#" + (turned ? "-" : "") + button.dataset.key);
    sortBy(button, turned);
  });
}
addEventListener("hashchange", sortAsAddressed);
sortAsAddressed();
