// The chart of the whole log: events by family over time.  It zooms, shows the moment that the page shows, and sets it.
//
// It is drawn here and not by a library: one path for each family is all that it needs; see docs/time-machine.md.

import { Away, Latest, api, words } from "./api.js";
import { button, calm, h, replace, say, svg, throttled } from "./dom.js";
import { TITLES } from "./families.js";
import { count, duration, plural, toMs, toTimestamp, when } from "./text.js";
import { view } from "./view.js";

const WIDTH = 1000;
const HEIGHT = 96;
const FINEST_MS = 2;

export class Timeline {
  /** `place` is the element that it fills; `choose(timestamp)` is called for a moment that is chosen. */
  constructor(place, choose) {
    this.choose = choose;
    this.latest = new Latest();
    this.data = null;
    this.bars = svg("g", {});
    this.cursor = svg("line", { class: "cursor", y1: 0, y2: HEIGHT });
    this.selection = svg("rect", { class: "selection", y: 0, height: HEIGHT });
    this.chart = svg(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", class: "chart", role: "img" },
      this.bars,
      this.selection,
      this.cursor,
    );
    this.axis = h("div", { class: "axis", "aria-hidden": "true" });
    this.hint = h("div", { class: "chart-hint", "aria-hidden": "true", hidden: true });
    this.legend = h("div", { class: "legend", role: "group", "aria-label": "Families of events" });
    this.range = h("span", { class: "range" });
    this.note = h("span", { class: "note" });
    this.frame = h("div", { class: "chart-frame" }, this.chart, this.hint);
    this.table = h("div", { class: "figures", id: "figures", tabindex: "0", role: "region", "aria-label": "Figures", hidden: true });
    this.figures = button("Figures", () => this.#toggleTable(), {
      "aria-expanded": "false",
      "aria-controls": "figures",
      title: "The same as a table",
    });
    replace(
      place,
      h(
        "div",
        { class: "timeline-head" },
        this.legend,
        this.note,
        h(
          "div",
          { class: "zoom", role: "group", "aria-label": "Zoom" },
          this.range,
          button("◀", () => this.#pan(-0.5), { "aria-label": "Earlier", title: "Earlier" }),
          button("▶", () => this.#pan(0.5), { "aria-label": "Later", title: "Later" }),
          button("+", () => this.#zoom(0.5), { "aria-label": "Zoom in", title: "Zoom in" }),
          button("−", () => this.#zoom(2), { "aria-label": "Zoom out", title: "Zoom out" }),
          button("Whole log", () => this.#show(null, null)),
          this.figures,
        ),
      ),
      this.frame,
      this.axis,
      this.table,
    );
    this.#pointer();
    this.refresh = throttled(() => this.#load(), 300);
  }

  /** Milliseconds of the window that is shown. */
  get start() {
    return this.data ? toMs(this.data.start) : 0;
  }

  get end() {
    return this.data ? toMs(this.data.end) : 1;
  }

  /** The ends of the log, timestamps; empty without events. */
  get first() {
    return this.data?.first.timestamp ?? "";
  }

  get last() {
    return this.data?.last.timestamp ?? "";
  }

  get #buckets() {
    const [counts] = Object.values(this.data.counts);
    return counts?.length ?? 1;
  }

  async #load() {
    const { from = null, to = null } = view.now;
    try {
      const data = await this.latest.run((signal) => api.get("admin/timeline", { from, to, buckets: 240 }, signal));
      if (data === undefined) return;
      this.data = data;
      this.#draw();
      if (data.counted < 1) setTimeout(this.refresh, 50);
    } catch (error) {
      if (!(error instanceof Away && this.data)) this.note.textContent = words(error);
    }
  }

  /** The moment that the page shows; null is now. */
  mark(at) {
    this.at = at;
    const x = at ? this.#x(toMs(at)) : WIDTH;
    const seen = Boolean(this.data) && x >= 0 && x <= WIDTH;
    this.cursor.setAttribute("x1", x);
    this.cursor.setAttribute("x2", x);
    this.cursor.classList.toggle("live", !at);
    this.cursor.style.display = seen ? "" : "none";
  }

  #x(ms) {
    return ((ms - this.start) / (this.end - this.start)) * WIDTH;
  }

  #hidden() {
    return new Set((view.now.hide ?? "").split(",").filter(Boolean));
  }

  #draw() {
    const { counts, total, counted, width_s: width } = this.data;
    const hidden = this.#hidden();
    const shown = Object.keys(TITLES).filter((family) => counts[family] && !hidden.has(family));
    const buckets = this.#buckets;
    const sums = Array.from({ length: buckets }, (_, index) => shown.reduce((sum, family) => sum + counts[family][index], 0));
    const highest = Math.max(1, ...sums);
    const step = WIDTH / buckets;
    const gap = step > 4 ? 0.8 : 0;
    const heights = new Array(buckets).fill(0);
    const paths = shown.map((family) => {
      let path = "";
      counts[family].forEach((value, index) => {
        if (!value) return;
        // A square root keeps single events visible beside a rush of thousands.
        const bottom = scale(heights[index], highest);
        heights[index] += value;
        const top = scale(heights[index], highest);
        path += `M${(index * step).toFixed(2)} ${(HEIGHT - bottom).toFixed(2)}h${(step - gap).toFixed(2)}V${(HEIGHT - top).toFixed(2)}h${(gap - step).toFixed(2)}z`;
      });
      return svg("path", { d: path, class: `f-${family}` });
    });
    replace(this.bars, paths);
    this.#drawLegend(counts, hidden);
    this.#drawAxis();
    this.range.textContent = `bars of ${duration(width)}`;
    this.note.textContent = counted < 1 ? `Counting the log: ${Math.floor(counted * 100)} %` : plural(total, "event");
    this.chart.setAttribute(
      "aria-label",
      `${plural(total, "event")} from ${when(this.data.start)} to ${when(this.data.end)} UTC, in bars of ${duration(width)}`,
    );
    this.mark(this.at);
    this.#drawTable();
    this.onload?.();
  }

  #drawLegend(counts, hidden) {
    const families = Object.keys(TITLES).filter((family) => counts[family] || hidden.has(family));
    const focused = document.activeElement?.dataset?.family;
    const buttons = families.map((family) =>
      button(
        [
          h("span", { class: `swatch f-${family}` }),
          TITLES[family],
          h("span", { class: "faint" }, ` ${count((counts[family] ?? []).reduce((sum, value) => sum + value, 0))}`),
        ],
        () => {
          const next = this.#hidden();
          if (!next.delete(family)) next.add(family);
          view.go({ hide: [...next].join(",") || null }, { quietly: true });
          this.#draw();
        },
        { class: "legend-item", "aria-pressed": String(!hidden.has(family)), data: { family } },
      ),
    );
    replace(this.legend, buttons);
    if (focused) this.legend.querySelector(`[data-family="${focused}"]`)?.focus();
  }

  #drawAxis() {
    const span = this.end - this.start;
    const labels = [];
    let day = "";
    for (let index = 0; index <= 5; index += 1) {
      const timestamp = toTimestamp(this.start + (span * index) / 5);
      const date = timestamp.slice(0, 10);
      const time = timestamp.slice(11, span > 3_600_000 ? 16 : span > 60_000 ? 19 : 23);
      // The date is said where it is another one than to the left.
      const text = span > 5 * 86_400_000 ? date : date === day ? time : `${date} ${time}`;
      day = date;
      labels.push(h("span", {}, text));
    }
    replace(this.axis, labels);
  }

  #toggleTable() {
    this.table.hidden = !this.table.hidden;
    this.figures.setAttribute("aria-expanded", String(!this.table.hidden));
    this.#drawTable();
  }

  #drawTable() {
    if (this.table.hidden || !this.data) return;
    const { counts } = this.data;
    const families = Object.keys(TITLES).filter((family) => counts[family]);
    const buckets = this.#buckets;
    const rows = [];
    for (let index = 0; index < buckets; index += 1) {
      if (!families.some((family) => counts[family][index])) continue;
      const at = toTimestamp(this.start + index * this.data.width_s * 1000);
      rows.push(
        h("tr", {}, h("th", { scope: "row" }, when(at)), families.map((family) => h("td", {}, count(counts[family][index])))),
      );
    }
    replace(
      this.table,
      h(
        "table",
        {},
        h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "From (UTC)"), families.map((family) => h("th", { scope: "col" }, TITLES[family])))),
        h("tbody", {}, rows),
      ),
    );
  }

  // --- looking elsewhere ---------------------------------------------------------------------------------------------

  #show(startMs, endMs) {
    const from = startMs === null ? null : toTimestamp(Math.round(startMs));
    const to = endMs === null ? null : toTimestamp(Math.round(endMs));
    view.go({ from, to }, { quietly: true });
    if (startMs !== null) say(`Showing ${when(from)} to ${when(to)}`);
    else say("Showing the whole log");
  }

  #zoom(factor, middle = null) {
    if (!this.data) return;
    const at = this.at ? toMs(this.at) : this.end;
    const centre = middle ?? (at >= this.start && at <= this.end ? at : (this.start + this.end) / 2);
    const span = Math.max((this.end - this.start) * factor, FINEST_MS * 10);
    const share = (centre - this.start) / (this.end - this.start);
    const whole = toMs(this.last) - toMs(this.first);
    if (factor > 1 && span >= whole * 1.05) this.#show(null, null);
    else this.#show(centre - span * share, centre + span * (1 - share));
  }

  #pan(share) {
    if (!this.data) return;
    const step = (this.end - this.start) * share;
    this.#show(this.start + step, this.end + step);
  }

  #pointer() {
    let from = null;
    const ms = (event) => {
      const box = this.chart.getBoundingClientRect();
      const share = Math.max(0, Math.min(1, (event.clientX - box.left) / box.width));
      return this.start + share * (this.end - this.start);
    };
    this.frame.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || !this.data) return;
      from = { x: event.clientX, ms: ms(event) };
      this.frame.setPointerCapture(event.pointerId);
    });
    this.frame.addEventListener("pointermove", (event) => {
      if (!this.data) return;
      this.#hintAt(ms(event), event);
      if (from && Math.abs(event.clientX - from.x) > 4) {
        const [left, right] = [from.ms, ms(event)].sort((a, b) => a - b).map((each) => this.#x(each));
        this.selection.setAttribute("x", left);
        this.selection.setAttribute("width", right - left);
      }
    });
    this.frame.addEventListener("pointerup", (event) => {
      if (!from) return;
      const to = ms(event);
      const moved = Math.abs(event.clientX - from.x) > 4;
      this.selection.setAttribute("width", 0);
      if (moved) this.#show(Math.min(from.ms, to), Math.max(from.ms, to, Math.min(from.ms, to) + FINEST_MS * 10));
      else this.choose(toTimestamp(to));
      from = null;
    });
    this.frame.addEventListener("pointercancel", () => {
      from = null;
      this.selection.setAttribute("width", 0);
    });
    this.frame.addEventListener("pointerleave", () => (this.hint.hidden = true));
    this.frame.addEventListener(
      "wheel",
      (event) => {
        if (!this.data || !(event.ctrlKey || event.shiftKey || event.altKey)) return;
        event.preventDefault();
        this.#zoom(event.deltaY + event.deltaX > 0 ? 1.5 : 1 / 1.5, ms(event));
      },
      { passive: false },
    );
  }

  #hintAt(at, event) {
    const { counts, width_s: width } = this.data;
    const index = Math.floor((at - this.start) / 1000 / width);
    const found = Object.keys(TITLES).filter((family) => counts[family]?.[index]);
    replace(
      this.hint,
      h("strong", {}, when(toTimestamp(this.start + index * width * 1000), width < 1)),
      found.length
        ? found.map((family) => h("div", {}, h("span", { class: `swatch f-${family}` }), `${TITLES[family]} ${count(counts[family][index])}`))
        : h("div", { class: "faint" }, "nothing happened"),
    );
    this.hint.hidden = false;
    const box = this.frame.getBoundingClientRect();
    const left = event.clientX - box.left;
    this.hint.style.left = `${Math.min(left + 14, box.width - this.hint.offsetWidth - 4)}px`;
    this.hint.classList.toggle("calm", calm());
  }
}

function scale(value, highest) {
  return value ? Math.max(1.5, Math.sqrt(value / highest) * (HEIGHT - 4)) : 0;
}
