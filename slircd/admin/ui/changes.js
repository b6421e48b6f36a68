// Differences between two moments, side by side.

import { h } from "./dom.js";
import { clean, mono, stranger, timeOf } from "./text.js";

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/;

/** What is changed, in words: a path such as ["topic", "text"]. */
export function pathWords(path) {
  return path.map((word) => clean(word).replaceAll("_", " ")).join(" / ");
}

/** A value of a document for people. */
export function valueOf(value) {
  if (value === null || value === undefined) return h("span", { class: "faint" }, "–");
  if (value === true || value === false) return value ? "yes" : "no";
  if (typeof value === "string") return TIME.test(value) ? timeOf(value) : value === "" ? h("span", { class: "faint" }, "empty") : stranger(value);
  if (typeof value === "number") return value.toLocaleString("en");
  if (Array.isArray(value)) {
    if (!value.length) return h("span", { class: "faint" }, "none");
    if (value.every((item) => typeof item !== "object")) return stranger(value.join(", "));
    return h("ul", { class: "plain" }, value.slice(0, 50).map((item) => h("li", {}, valueOf(item))), value.length > 50 ? h("li", { class: "faint" }, `and ${value.length - 50} more`) : null);
  }
  if ("mask" in value && "set_by" in value) return [mono(value.mask), h("span", { class: "faint" }, " by ", stranger(value.set_by))];
  if ("nick" in value && "prefixes" in value) return [stranger(value.nick), value.prefixes ? h("span", { class: "mono" }, ` +${clean(value.prefixes)}`) : null];
  const entries = Object.entries(value).filter(([, each]) => each !== null && !(Array.isArray(each) && !each.length));
  if (!entries.length) return h("span", { class: "faint" }, "none");
  return h(
    "dl",
    { class: "facts small" },
    entries.map(([name, each]) => [h("dt", {}, clean(name).replaceAll("_", " ")), h("dd", {}, valueOf(each))]),
  );
}

/** Changes in a table with both moments; `skip` words of each path are said elsewhere. */
export function changesTable(changes, before, after, skip = 2) {
  return h(
    "div",
    { class: "table-frame", role: "region", "aria-label": "What differs", tabindex: "0" },
    h(
      "table",
      { class: "changes" },
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "What"), h("th", { scope: "col" }, before), h("th", { scope: "col" }, after))),
      h(
        "tbody",
        {},
        changes.map((change) =>
          h(
            "tr",
            { class: change.kind },
            h("th", { scope: "row" }, h("span", { class: `kind ${change.kind}` }, change.kind), " ", pathWords(change.path.slice(skip)) || pathWords(change.path.slice(-1))),
            h("td", { class: change.kind === "added" ? "none" : "old" }, change.kind === "added" ? "–" : valueOf(change.before)),
            h("td", { class: change.kind === "removed" ? "none" : "new" }, change.kind === "removed" ? "–" : valueOf(change.after)),
          ),
        ),
      ),
    ),
  );
}
