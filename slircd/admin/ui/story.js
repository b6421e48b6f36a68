// What happened to one channel, one user or one account, newest first.

import { Latest, api, words } from "./api.js";
import { button, h, replace } from "./dom.js";
import { eventRow } from "./eventlist.js";
import { heading } from "./panel.js";
import { mono, stranger, when } from "./text.js";
import { NOTHING_CHOSEN, view } from "./view.js";

export class StoryPanel {
  constructor() {
    this.latest = new Latest();
    this.events = [];
    this.head = h("div", {});
    this.list = h("ol", { class: "events", "aria-label": "Events, newest first" });
    this.note = h("p", { class: "faint", role: "status" });
    this.more = button("Show older", () => this.#load(), { class: "more" });
    this.element = h("section", { class: "feed story", "aria-label": "Story" }, this.head, h("div", { class: "feed-body", tabindex: "0", role: "region", "aria-label": "Events of this story" }, this.list, this.note, this.more));
  }

  get subject() {
    for (const kind of ["channel", "user", "account"]) if (view.now[kind]) return { kind, key: view.now[kind] };
    return null;
  }

  async show(changed) {
    if (!["tab", "at", "channel", "user", "account"].some((name) => changed.has(name))) return;
    const { subject } = this;
    if (!subject) {
      replace(this.head, h("p", { class: "empty" }, "Choose a channel, a user or an account: on the other pages, or by the search."));
      replace(this.list);
      this.more.hidden = true;
      this.note.textContent = "";
      return;
    }
    const { at = null } = view.now;
    const tab = { channel: "channels", user: "users", account: "accounts" }[subject.kind];
    replace(
      this.head,
      heading(
        [`Story of the ${subject.kind} `, subject.kind === "user" ? mono(subject.key) : stranger(subject.key)],
        button(at ? `As it was at ${when(at)}` : "As it is now", () => view.go({ ...NOTHING_CHOSEN, tab, [subject.kind]: subject.key })),
      ),
    );
    this.events = [];
    this.before = null;
    replace(this.list);
    await this.#load();
  }

  async refresh() {}

  async #load() {
    const { subject } = this;
    if (!subject) return;
    this.more.disabled = true;
    this.element.setAttribute("aria-busy", "true");
    this.note.textContent = this.events.length ? "" : "Looking through the log …";
    try {
      const found = await this.latest.run((signal) =>
        api.get("admin/story", { ...subject, until: view.now.at ?? null, before: this.before, limit: 100 }, signal),
      );
      if (found === undefined) return;
      this.events.push(...found.events);
      this.before = found.before;
      this.list.append(...found.events.map((event) => eventRow(event)));
      this.more.hidden = found.before === null;
      this.note.textContent =
        found.before !== null && !found.events.length ? "Nothing so far; there is more of the log to look through." : this.events.length ? "" : "Nothing is known of it up to this moment.";
      this.#name(subject);
    } catch (error) {
      this.note.textContent = words(error);
      this.more.hidden = false;
    } finally {
      this.more.disabled = false;
      this.element.removeAttribute("aria-busy");
    }
  }

  #name(subject) {
    if (subject.kind !== "user") return;
    const named = this.events.find((event) => event.target === subject.key && (event.payload.new_nick || event.payload.nick));
    if (named) replace(this.head.querySelector("h2"), "Story of the user ", stranger(named.payload.new_nick ?? named.payload.nick), " ", h("span", { class: "faint" }, mono(subject.key)));
  }

  stop() {
    this.latest.stop();
  }

  async exported() {
    const { subject } = this;
    return { name: subject ? `story-${subject.key}` : "story", items: this.events };
  }
}
