// The moment that the page shows: slider, date field, steps from event to event, playing forward and backward.

import { Away, Latest, Refused, api, words } from "./api.js";
import { button, h, replace, say, throttled } from "./dom.js";
import { parseMoment, timeOf, toMs, toTimestamp, when } from "./text.js";
import { view } from "./view.js";
import { tell, tellPlain } from "./words.js";

const STEPS = 10_000;
const LONGEST_WAIT_MS = 1000;
const SHORTEST_WAIT_MS = 120;
const SPEEDS = [1, 10, 60, 600, 3600, 86_400];

export class Clock {
  /** `settled()` resolves when what is shown is that moment; playing waits for it. */
  constructor(place, timeline, settled) {
    this.timeline = timeline;
    this.settled = settled;
    this.latest = new Latest();
    this.stepping = new Latest();
    this.playing = 0;
    this.slider = h("input", {
      type: "range",
      class: "slider",
      min: 0,
      max: STEPS,
      step: 1,
      "aria-label": "Moment",
      oninput: throttled(() => this.#slid(true), 80),
      onchange: () => this.#slid(false),
    });
    this.field = h("input", {
      class: "moment-field mono",
      type: "text",
      size: 26,
      spellcheck: "false",
      autocomplete: "off",
      placeholder: "now",
      "aria-label": "Moment, UTC: 2026-01-31 14:05:00, or -15m; empty for now",
      onkeydown: (event) => event.key === "Enter" && this.#typed(),
      onchange: () => this.#typed(),
    });
    this.backward = button("◀ Play", () => this.play(-1), { "aria-pressed": "false", "aria-label": "Play backward", title: "Play backward" });
    this.forward = button("Play ▶", () => this.play(1), { "aria-pressed": "false", "aria-label": "Play forward", title: "Play forward" });
    this.speed = h(
      "select",
      { "aria-label": "Speed", title: "How fast time passes; nothing waits longer than a second" },
      SPEEDS.map((speed) => h("option", { value: speed, selected: speed === 60 }, `${speed.toLocaleString("en")}×`)),
    );
    this.now = button("Now", () => this.go(null), { class: "now" });
    this.state = h("span", { class: "state" });
    this.event = h("p", { class: "event-at" });
    replace(
      place,
      this.slider,
      h(
        "div",
        { class: "clock-row", role: "group", "aria-label": "Moment" },
        this.state,
        this.field,
        h(
          "span",
          { class: "buttons" },
          button("|◀", () => this.step(-1), { "aria-label": "Event before", title: "Event before ( , )" }),
          this.backward,
          this.forward,
          button("▶|", () => this.step(1), { "aria-label": "Next event", title: "Next event ( . )" }),
          this.speed,
        ),
        this.now,
        this.event,
      ),
    );
  }

  get at() {
    return view.now.at ?? null;
  }

  /** Show a moment; null is now. */
  go(at, { quietly = false, playing = false } = {}) {
    if (!playing) this.pause();
    view.go({ at }, { quietly });
  }

  /** The page shows another moment, or the timeline another window. */
  show() {
    const { at } = this;
    if (document.activeElement !== this.field || !this.typing) this.field.value = at ? when(at, true) : "";
    this.field.removeAttribute("aria-invalid");
    const start = this.timeline.start;
    const end = this.timeline.end;
    const share = at ? (toMs(at) - start) / (end - start) : 1;
    this.slider.value = Math.round(Math.max(0, Math.min(1, share)) * STEPS);
    this.slider.setAttribute("aria-valuetext", at ? `${when(at)} UTC` : "now");
    this.now.disabled = !at;
    replace(this.state, h("span", { class: at ? "pill past" : "pill live" }, at ? "Past" : "Live"));
    this.timeline.mark(at);
    this.#tell();
  }

  async #tell() {
    try {
      const found = await this.latest.run((signal) =>
        api.get("admin/events", { order: "desc", limit: 1, to: this.at }, signal),
      );
      if (found === undefined) return;
      const [event] = found;
      this.shown = event ?? null;
      replace(this.event, event ? [timeOf(event.timestamp, true), " ", tell(event)] : "Nothing had happened yet");
      if (this.playing) say(event ? tellPlain(event) : "");
    } catch (error) {
      if (!(error instanceof Away || (error instanceof Refused && error.status === 401))) replace(this.event, words(error));
    }
  }

  #slid(quietly) {
    const share = Number(this.slider.value) / STEPS;
    if (share >= 1 && this.timeline.end >= toMs(this.timeline.last || "1970-01-01T00:00:00.000000Z")) {
      this.go(null, { quietly });
      return;
    }
    this.go(toTimestamp(this.timeline.start + share * (this.timeline.end - this.timeline.start)), { quietly });
  }

  #typed() {
    const text = this.field.value.trim();
    if (text === (this.at ? when(this.at, true) : "")) return;
    if (!text || text === "now") {
      this.go(null);
      return;
    }
    let moment = parseMoment(text);
    if (moment?.startsWith("-")) {
      const unit = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 }[moment.at(-1)];
      moment = toTimestamp(Date.now() - Number(moment.slice(1, -1)) * unit * 1000);
    }
    if (!moment) {
      this.field.setAttribute("aria-invalid", "true");
      say("That is no time. Write 2026-01-31 14:05:00, or -15m.");
      return;
    }
    this.go(moment);
  }

  // --- from event to event -------------------------------------------------------------------------------------------

  /** Go to the next event, or the one before. */
  async step(direction) {
    this.pause();
    const event = await this.stepping.run((signal) => this.#neighbours(direction, 1, signal)).catch(() => undefined);
    if (event === undefined) return;
    if (event.length) this.go(event[0].timestamp);
    else if (direction > 0) this.go(null);
    else say("This is the first event of the log");
  }

  /** Events after or before what is shown; those of one decision have one timestamp and count as one step. */
  async #neighbours(direction, limit, signal) {
    const { at } = this;
    if (direction > 0) {
      if (!at) return [];
      const found = await api.get("admin/events", { from: at, limit: limit + 60 }, signal);
      return found.filter((event) => event.timestamp > at).slice(0, limit);
    }
    const found = await api.get("admin/events", { to: at, order: "desc", limit: limit + 60 }, signal);
    const newest = at ?? found[0]?.timestamp;
    return found.filter((event) => event.timestamp < (this.shown && at ? this.shown.timestamp : newest)).slice(0, limit);
  }

  /** Play forward (1) or backward (-1); again, it pauses. */
  play(direction) {
    const again = this.playing === direction;
    this.pause();
    if (again) return;
    if (direction > 0 && !this.at) {
      // From the end there is no way forward: play the window from its start.
      view.go({ at: this.timeline.first > toTimestamp(this.timeline.start) ? this.timeline.first : toTimestamp(this.timeline.start) });
    }
    this.playing = direction;
    this.#showPlaying();
    this.#play(direction);
  }

  /** Stop playing. */
  pause() {
    if (!this.playing) return;
    this.playing = 0;
    this.run = null;
    this.stepping.stop();
    this.#showPlaying();
  }

  #showPlaying() {
    this.backward.setAttribute("aria-pressed", String(this.playing < 0));
    this.forward.setAttribute("aria-pressed", String(this.playing > 0));
    this.backward.textContent = this.playing < 0 ? "❚❚ Pause" : "◀ Play";
    this.forward.textContent = this.playing > 0 ? "❚❚ Pause" : "Play ▶";
  }

  async #play(direction) {
    const run = (this.run = {});
    await this.settled();
    let ahead = [];
    while (this.run === run) {
      try {
        if (!ahead.length) ahead = (await this.stepping.run((signal) => this.#neighbours(direction, 200, signal))) ?? [];
      } catch (error) {
        say(words(error));
        break;
      }
      if (this.run !== run) return;
      if (!ahead.length) break;
      // All that happens in the shortest time that one can see is one step.
      const speed = Number(this.speed.value);
      const from = this.at ? toMs(this.at) : toMs(ahead[0].timestamp);
      const reach = SHORTEST_WAIT_MS * speed;
      let next = ahead.shift();
      while (ahead.length && Math.abs(toMs(ahead[0].timestamp) - from) <= reach) next = ahead.shift();
      const gap = Math.abs(toMs(next.timestamp) - from) / speed;
      const started = performance.now();
      this.go(next.timestamp, { quietly: true, playing: true });
      await this.settled();
      const wait = Math.max(SHORTEST_WAIT_MS, Math.min(gap, LONGEST_WAIT_MS)) - (performance.now() - started);
      if (wait > 0) await new Promise((done) => setTimeout(done, wait));
    }
    if (this.run !== run) return;
    this.pause();
    if (direction > 0) this.go(null, { quietly: true });
    else say("This is the first event of the log");
  }
}
