// The log itself: live at now, with filters; in the past it stands still and goes back from there.

import { Away, Latest, api, words } from "./api.js";
import { button, debounced, h, replace } from "./dom.js";
import { eventRow } from "./eventlist.js";
import { TITLES, familyOf, families } from "./families.js";
import { count, plural } from "./text.js";
import { view } from "./view.js";

const PAGE = 100;
const KEPT = 500;

export class EventsPanel {
  /** `live` is the feed of new events. */
  constructor(live) {
    this.live = live;
    this.latest = new Latest();
    this.rows = [];
    this.next = null;
    this.paused = false;
    this.type = h("select", { "aria-label": "Type of event", onchange: () => this.#filter() });
    this.target = h("input", {
      type: "search",
      placeholder: "channel, UID, account or mask",
      "aria-label": "What it happened to",
      spellcheck: "false",
      oninput: debounced(() => this.#filter(), 300),
    });
    this.actor = h("input", {
      type: "search",
      placeholder: "UID, server, admin:NAME",
      "aria-label": "Who caused it",
      spellcheck: "false",
      oninput: debounced(() => this.#filter(), 300),
    });
    this.state = h("span", { class: "feed-state", role: "status" });
    this.hold = button("Pause", () => this.#hold(!this.paused), { "aria-pressed": "false" });
    this.list = h("ol", { class: "events", "aria-label": "Events, newest first" });
    this.more = button("Show older", () => this.#older(), { class: "more" });
    this.element = h(
      "section",
      { class: "feed", "aria-label": "Events" },
      h("div", { class: "feed-head", role: "group", "aria-label": "Filters" }, this.type, this.target, this.actor, this.hold, this.state),
      h("div", { class: "feed-body", tabindex: "0", role: "region", "aria-label": "List of events" }, this.list, this.more),
    );
    this.onevents = (event) => this.#arrived(event.detail);
    live.addEventListener("events", this.onevents);
    // What happened between the first look and the opening of the feed would be in neither: look again.
    this.onopen = (event) => event.detail === "open" && !view.now.at && !this.paused && this.#load();
    live.addEventListener("state", this.onopen);
    this.waiting = null;
    this.timer = setInterval(() => this.#showState(), 1000);
    this.recent = 0;
  }

  #filter() {
    view.go({ types: this.type.value || null, target: this.target.value.trim() || null, actor: this.actor.value.trim() || null }, { quietly: true });
  }

  #options() {
    const { types = "" } = view.now;
    const options = [h("option", { value: "" }, "all types")];
    for (const [family, names] of Object.entries(families())) {
      options.push(
        h(
          "optgroup",
          { label: TITLES[family] },
          h("option", { value: names.join(",") }, `all of ${TITLES[family].toLowerCase()}`),
          names.map((name) => h("option", { value: name }, name)),
        ),
      );
    }
    replace(this.type, options);
    this.type.value = types;
    if (this.type.value !== types) {
      this.type.append(h("option", { value: types }, types));
      this.type.value = types;
    }
  }

  get filters() {
    const { types = null, target = null, actor = null } = view.now;
    return { type: types, target, actor };
  }

  async show(changed) {
    if (!this.type.options.length || changed.has("types")) this.#options();
    for (const name of ["target", "actor"]) {
      if (document.activeElement !== this[name]) this[name].value = view.now[name] ?? "";
    }
    if (["tab", "at", "types", "target", "actor"].some((name) => changed.has(name))) await this.#load();
  }

  async refresh() {}

  async #load() {
    const { at = null } = view.now;
    this.#hold(false);
    this.hold.hidden = Boolean(at);
    this.waiting = [];
    this.element.setAttribute("aria-busy", "true");
    try {
      const page = await this.latest.run((signal) => this.#page({ to: at }, signal));
      if (page === undefined) return;
      this.rows = page;
      this.next = page.length === PAGE ? page.at(-1).id : null;
      this.#draw();
      const { waiting } = this;
      this.waiting = null;
      this.#arrived(waiting);
    } catch (error) {
      if (error instanceof Away && this.rows.length) return;
      replace(this.list, h("li", { class: "empty" }, h("p", {}, words(error)), button("Try again", () => this.#load())));
      this.more.hidden = true;
    } finally {
      this.element.removeAttribute("aria-busy");
    }
    this.#showState();
  }

  #page(more, signal) {
    return api.get("admin/events", { ...this.filters, ...more, order: "desc", limit: PAGE }, signal);
  }

  async #older() {
    if (!this.next) return;
    this.more.disabled = true;
    try {
      const page = await this.latest.run((signal) => this.#page({ to: view.now.at ?? null, before: this.next }, signal));
      if (page === undefined) return;
      this.rows.push(...page);
      this.next = page.length === PAGE ? page.at(-1).id : null;
      this.list.append(...page.map((event) => eventRow(event)));
      this.more.hidden = !this.next;
    } catch (error) {
      this.state.textContent = words(error);
    } finally {
      this.more.disabled = false;
    }
  }

  #draw() {
    this.more.hidden = !this.next;
    if (!this.rows.length) {
      replace(this.list, h("li", { class: "empty" }, "No such events up to this moment."));
      return;
    }
    replace(this.list, this.rows.map((event, index) => eventRow(event, { marked: index === 0 && Boolean(view.now.at) })));
  }

  // --- live ------------------------------------------------------------------------------------------------------------

  #arrived(events) {
    const wanted = events.filter((event) => this.#fits(event));
    this.recent += wanted.length;
    if (view.now.at || !wanted.length) return;
    if (this.waiting) {
      this.waiting.push(...wanted);
      return;
    }
    if (this.paused) {
      this.missed = (this.missed ?? 0) + wanted.length;
      return;
    }
    const known = this.rows[0]?.id ?? 0;
    const fresh = wanted.filter((event) => event.id > known).slice(-KEPT).reverse();
    if (!fresh.length) return;
    if (!this.rows.length) replace(this.list);
    this.rows.unshift(...fresh);
    this.list.prepend(...fresh.map((event) => eventRow(event)));
    while (this.rows.length > KEPT) {
      this.rows.pop();
      this.list.lastElementChild.remove();
    }
    if (this.rows.length === KEPT) {
      this.next = this.rows.at(-1).id;
      this.more.hidden = false;
    }
  }

  #fits(event) {
    const { type, target, actor } = this.filters;
    if (target && event.target?.toLowerCase() !== target.toLowerCase()) return false;
    if (actor && event.actor_uid !== actor) return false;
    if (!type) return true;
    return type.split(",").some((name) => name === event.event_type || (name.endsWith(".*") && event.event_type.startsWith(name.slice(0, -1))) || name === familyOf(event.event_type));
  }

  #hold(paused) {
    this.paused = paused;
    this.hold.textContent = paused ? "Go on" : "Pause";
    this.hold.setAttribute("aria-pressed", String(paused));
    if (!paused && this.missed) {
      this.missed = 0;
      this.#load();
    }
  }

  #showState() {
    const recent = this.recent;
    this.recent = 0;
    let text = "";
    if (view.now.at) text = "The feed stands still: you look at the past.";
    else if (this.paused) text = `Paused, ${plural(this.missed ?? 0, "new event")}`;
    else if (this.live.state === "open") text = recent ? `Live, ${count(recent)} a second` : "Live";
    else text = "Connecting …";
    if (this.state.textContent !== text) this.state.textContent = text;
  }

  stop() {
    clearInterval(this.timer);
    this.live.removeEventListener("events", this.onevents);
    this.live.removeEventListener("state", this.onopen);
    this.latest.stop();
  }

  async exported() {
    return { name: "events", items: this.rows };
  }
}
