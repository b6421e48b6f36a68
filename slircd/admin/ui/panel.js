// What all panels with a list and a detail beside it have in common.

import { Away, Latest, Refused, api, words } from "./api.js";
import { button, debounced, h, replace } from "./dom.js";
import { VirtualList } from "./list.js";
import { view } from "./view.js";

export class ListPanel {
  /**
   * `name` is the section (and the word of the view that holds what is chosen: `chosen`), `columns` its headings,
   * `row` and `key` as for VirtualList, `sorts` orders to choose from.
   */
  constructor({ label, section, chosen, rowHeight = 30, row, key, empty, sorts = null, className = "" }) {
    this.section = section;
    this.chosen = chosen;
    this.latest = new Latest();
    this.filter = h("input", {
      type: "search",
      class: "filter",
      placeholder: `Filter ${label.toLowerCase()}`,
      "aria-label": `Filter ${label.toLowerCase()}`,
      value: view.now.q ?? "",
      oninput: debounced(() => view.go({ q: this.filter.value.trim() || null }, { quietly: true }), 200),
      onkeydown: (event) => {
        if (event.key === "ArrowDown") {
          event.preventDefault();
          this.list.focus();
        }
      },
    });
    this.list = new VirtualList({
      label,
      rowHeight,
      row,
      key,
      empty,
      fetch: (offset, limit, signal) => api.get(`admin/moment/${section}`, { ...this.query(), offset, limit }, signal),
      onchoose: (item) => {
        view.go({ [chosen]: key(item) });
        if (matchMedia("(max-width: 800px)").matches) this.detail.querySelector("h2")?.focus();
      },
    });
    this.sort = sorts
      ? h(
          "select",
          { "aria-label": "Order", onchange: () => view.go({ sort: this.sort.value }, { quietly: true }) },
          sorts.map(([value, text]) => h("option", { value, selected: view.now.sort === value }, text)),
        )
      : null;
    this.detail = h("section", { class: "detail", "aria-label": "Details", "aria-live": "off" });
    this.element = h(
      "div",
      { class: `split ${className}` },
      h("section", { class: "side", "aria-label": label }, h("div", { class: "side-head" }, this.filter, this.sort), this.list.element),
      this.detail,
    );
  }

  query() {
    const { at = null, q = null, sort = null } = view.now;
    return { at, match: q, ...(this.sort ? { sort } : {}) };
  }

  /** Show what the view says. */
  async show(changed) {
    if (changed.has("q") && document.activeElement !== this.filter) this.filter.value = view.now.q ?? "";
    const listed = ["at", "q", "sort", "tab"].some((name) => changed.has(name));
    const chosen = view.now[this.chosen] ?? null;
    this.element.classList.toggle("has-detail", Boolean(chosen));
    this.list.choose(chosen);
    await Promise.all([
      listed ? this.list.refresh({ top: changed.has("q") || changed.has("sort") }) : null,
      this.#showDetail(chosen, chosen !== this.shownFor),
    ]);
  }

  /** Things happened: show them, if they are shown at all. */
  async refresh() {
    await Promise.all([this.list.refresh(), this.#showDetail(view.now[this.chosen] ?? null, false)]);
  }

  async #showDetail(chosen, isOther) {
    this.shownFor = chosen;
    if (!chosen) {
      this.latest.stop();
      this.drawn = null;
      replace(this.detail, h("p", { class: "empty" }, this.hint()));
      return;
    }
    if (isOther) {
      this.drawn = null;
      replace(this.detail, h("p", { class: "empty" }, "Loading …"));
    }
    this.detail.setAttribute("aria-busy", "true");
    try {
      const found = await this.latest.run((signal) => this.load(chosen, view.now.at ?? null, signal));
      if (found === undefined) return;
      // Nothing is drawn anew that is as it was: it may be read, or have the focus, at this moment.
      const drawn = JSON.stringify([found, view.now.at ?? null]);
      if (drawn === this.drawn) return;
      this.drawn = drawn;
      const focused = this.#focusables().indexOf(document.activeElement);
      const open = [...this.detail.querySelectorAll("details")].filter((each) => each.open).map((each) => each.dataset.name);
      const top = this.detail.scrollTop;
      replace(this.detail, this.#back(), this.draw(found, chosen));
      for (const each of this.detail.querySelectorAll("details")) if (open.includes(each.dataset.name)) each.open = true;
      this.detail.scrollTop = top;
      if (focused >= 0) this.#focusables()[focused]?.focus({ preventScroll: true });
    } catch (error) {
      if (error instanceof Refused && error.status === 401) return;
      // While the server is away what is shown stays; the page says so at its top.
      if (error instanceof Away && !isOther) return;
      this.drawn = null;
      const gone = error instanceof Refused && error.status === 404;
      replace(
        this.detail,
        this.#back(),
        h("div", { class: "empty" }, h("p", {}, gone ? this.gone(chosen) : words(error)), gone ? this.others(chosen) : button("Try again", () => this.refresh())),
      );
    } finally {
      this.detail.removeAttribute("aria-busy");
    }
  }

  #focusables() {
    return [...this.detail.querySelectorAll("a, button, summary, [tabindex]")];
  }

  #back() {
    return button("← Back to the list", () => {
      view.go({ [this.chosen]: null });
      this.list.focus();
    }, { class: "back" });
  }

  hint() {
    return "Choose one from the list.";
  }

  gone() {
    return "Not there at this moment.";
  }

  others() {
    return null;
  }

  stop() {
    this.list.stop();
    this.latest.stop();
  }

  /** What is shown, for export: all lines of the list that fit the filter. */
  async exported() {
    const items = [];
    for (let offset = 0; offset < 100_000; offset += 1000) {
      const page = await api.get(`admin/moment/${this.section}`, { ...this.query(), offset, limit: 1000 });
      items.push(...page.items);
      if (page.items.length < 1000) break;
    }
    return { name: this.section, items };
  }
}

/** A heading that can take the focus, with buttons beside it. */
export function heading(title, ...buttons) {
  return h("div", { class: "detail-head" }, h("h2", { tabindex: "-1" }, title), h("div", { class: "actions" }, buttons));
}

/** A list of terms and their values; empty values are left out. */
export function facts(entries) {
  return h(
    "dl",
    { class: "facts" },
    entries
      .filter(([, value]) => value !== null && value !== undefined && value !== "")
      .map(([term, value]) => [h("dt", {}, term), h("dd", {}, value)]),
  );
}

/** A part of a detail that can be closed. */
export function part(name, title, count, ...children) {
  return h(
    "details",
    { class: "part", open: true, data: { name } },
    h("summary", {}, h("h3", {}, title), count === null ? null : h("span", { class: "count" }, count.toLocaleString("en"))),
    children,
  );
}

/** A table; it may be wider than its place, and is then scrolled on its own. */
export function table(label, columns, rows) {
  return h(
    "div",
    { class: "table-frame", role: "region", "aria-label": label, tabindex: "0" },
    h(
      "table",
      {},
      h("thead", {}, h("tr", {}, columns.map((column) => h("th", { scope: "col" }, column)))),
      h("tbody", {}, rows.map((cells) => h("tr", {}, cells.map((cell) => h("td", {}, cell))))),
    ),
  );
}
