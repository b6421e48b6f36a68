// A list of any length: only the rows in sight are elements, and pages are fetched when they come into sight.
//
// It is a listbox with one tab stop: arrows move, Enter opens.

import { Away, Latest, words } from "./api.js";
import { append, button, h, replace } from "./dom.js";
import { plural } from "./text.js";

const PAGE = 200;
let ids = 0;

export class VirtualList {
  /**
   * `fetch(offset, limit, signal)` resolves to `{total, matching, items}`; `row(item)` gives a row's children,
   * `key(item)` what tells it from others; `onchoose(item)` is called when one is opened.
   */
  constructor({ label, rowHeight, fetch, row, key, onchoose, empty }) {
    Object.assign(this, { rowHeight, row, key, onchoose, empty });
    this.fetchPage = fetch;
    this.pages = new Map();
    this.loading = new Map();
    this.matching = 0;
    this.total = 0;
    this.active = -1;
    this.chosen = null;
    this.generation = 0;
    this.latest = new Latest();
    this.prefix = `list${(ids += 1)}`;
    this.canvas = h("div", { class: "list-canvas", role: "presentation" });
    this.box = h(
      "div",
      {
        class: "list",
        role: "listbox",
        tabindex: "0",
        "aria-label": label,
        onscroll: () => this.#draw(),
        onkeydown: (event) => this.#key(event),
        onfocus: () => this.active < 0 && this.matching && this.#move(0, false),
      },
      this.canvas,
    );
    this.note = h("p", { class: "list-note" });
    this.element = h("div", { class: "list-frame" }, this.note, this.box);
    this.observer = new ResizeObserver(() => this.#draw());
    this.observer.observe(this.box);
  }

  /** Fetch again what is in sight; the old rows stay until the new ones are there. */
  async refresh({ top = false } = {}) {
    const generation = (this.generation += 1);
    if (top) {
      this.box.scrollTop = 0;
      this.active = -1;
    }
    const first = Math.floor(Math.floor(this.box.scrollTop / this.rowHeight) / PAGE);
    this.element.setAttribute("aria-busy", "true");
    try {
      const page = await this.latest.run((signal) => this.fetchPage(first * PAGE, PAGE, signal));
      if (page === undefined || generation !== this.generation) return;
      this.pages = new Map([[first, page.items]]);
      this.loading.clear();
      this.matching = page.matching;
      this.total = page.total;
      this.error = null;
    } catch (error) {
      if (generation !== this.generation) return;
      if (error instanceof Away && this.pages.size) return;
      this.error = words(error);
      this.pages = new Map();
      this.matching = 0;
    } finally {
      if (generation === this.generation) this.element.removeAttribute("aria-busy");
    }
    this.#draw(true);
  }

  /** Mark the row with this key. */
  choose(key) {
    if (this.chosen !== key) {
      this.chosen = key;
      this.#draw(true);
    }
  }

  /** Put the keyboard into the list. */
  focus() {
    this.box.focus();
  }

  stop() {
    this.latest.stop();
    this.observer.disconnect();
  }

  #item(index) {
    return this.pages.get(Math.floor(index / PAGE))?.[index % PAGE];
  }

  #draw(all = false) {
    const height = this.matching * this.rowHeight;
    this.canvas.style.height = `${height}px`;
    if (this.error) {
      replace(this.note, h("span", { class: "trouble" }, this.error), " ", button("Try again", () => this.refresh()));
    } else {
      this.note.textContent =
        this.matching === this.total ? plural(this.total, "entry", "entries") : `${this.matching.toLocaleString("en")} of ${this.total.toLocaleString("en")}`;
    }
    if (!this.matching) {
      const state = this.element.getAttribute("aria-busy") ? "Loading …" : this.error ? "" : this.empty;
      replace(this.canvas, state ? h("p", { class: "empty", role: "option", "aria-disabled": "true", "aria-selected": "false" }, state) : null);
      this.drawn = null;
      this.box.removeAttribute("aria-activedescendant");
      return;
    }
    const first = Math.max(0, Math.floor(this.box.scrollTop / this.rowHeight) - 6);
    const last = Math.min(this.matching, Math.ceil((this.box.scrollTop + this.box.clientHeight) / this.rowHeight) + 6);
    for (let page = Math.floor(first / PAGE); page * PAGE < last; page += 1) this.#load(page);
    if (!all && this.drawn && first >= this.drawn.first && last <= this.drawn.last && this.drawn.complete) return;
    const rows = [];
    let complete = true;
    for (let index = first; index < last; index += 1) {
      const item = this.#item(index);
      if (!item) complete = false;
      rows.push(this.#rowOf(index, item));
    }
    replace(this.canvas, rows);
    this.drawn = { first, last, complete };
    this.#mark();
  }

  #rowOf(index, item) {
    const row = h("div", {
      class: item && this.key(item) === this.chosen ? "row chosen" : "row",
      role: "option",
      id: `${this.prefix}-${index}`,
      "aria-selected": String(Boolean(item) && this.key(item) === this.chosen),
      "aria-setsize": this.matching,
      "aria-posinset": index + 1,
      onclick: () => {
        this.active = index;
        if (item) this.onchoose(item);
        this.#mark();
      },
    });
    row.style.top = `${index * this.rowHeight}px`;
    row.style.height = `${this.rowHeight}px`;
    append(row, item ? [this.row(item)] : [h("span", { class: "faint" }, "…")]);
    return row;
  }

  async #load(page) {
    if (this.pages.has(page) || this.loading.has(page)) return;
    const generation = this.generation;
    this.loading.set(page, true);
    try {
      const found = await this.fetchPage(page * PAGE, PAGE, undefined);
      if (generation !== this.generation) return;
      this.pages.set(page, found.items);
      // Far more than fits on a screen need not be kept.
      if (this.pages.size > 20) this.pages.delete(this.pages.keys().next().value);
      this.#draw(true);
    } catch (error) {
      if (generation === this.generation) {
        this.error = words(error);
        this.#draw(true);
      }
    } finally {
      if (generation === this.generation) this.loading.delete(page);
    }
  }

  #key(event) {
    const rows = Math.max(1, Math.floor(this.box.clientHeight / this.rowHeight) - 1);
    const to = {
      ArrowDown: this.active + 1,
      ArrowUp: this.active - 1,
      PageDown: this.active + rows,
      PageUp: this.active - rows,
      Home: 0,
      End: this.matching - 1,
    }[event.key];
    if (to !== undefined) {
      event.preventDefault();
      this.#move(Math.max(0, Math.min(to, this.matching - 1)), true);
    } else if (event.key === "Enter" || event.key === " ") {
      const item = this.#item(this.active);
      if (item) {
        event.preventDefault();
        this.onchoose(item);
      }
    }
  }

  #move(index, scroll) {
    this.active = index;
    const top = index * this.rowHeight;
    if (scroll && top < this.box.scrollTop) this.box.scrollTop = top;
    const bottom = top + this.rowHeight - this.box.clientHeight;
    if (scroll && bottom > this.box.scrollTop) this.box.scrollTop = bottom;
    this.#draw();
    this.#mark();
  }

  #mark() {
    for (const row of this.canvas.children) row.classList.toggle("active", row.id === `${this.prefix}-${this.active}`);
    const active = document.getElementById(`${this.prefix}-${this.active}`);
    if (active) this.box.setAttribute("aria-activedescendant", active.id);
    else this.box.removeAttribute("aria-activedescendant");
  }
}
