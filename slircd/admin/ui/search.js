// What the search has found: people, channels, accounts, types of events, now and in the whole log.

import { Latest, api, words } from "./api.js";
import { button, h, replace } from "./dom.js";
import { familyOf } from "./families.js";
import { clean, plural, stranger, timeOf, when } from "./text.js";
import { NOTHING_CHOSEN, view } from "./view.js";

const TITLES = { channel: "Channels", user: "Users", account: "Accounts", type: "Types of events" };

export class SearchPanel {
  constructor() {
    this.latest = new Latest();
    this.hits = [];
    this.groups = h("div", { class: "groups" });
    this.note = h("p", { class: "faint", role: "status" });
    this.more = button("Look further back", () => this.#load(), { class: "more" });
    this.title = h("h2", { tabindex: "-1" }, "Search");
    this.element = h("section", { class: "results", "aria-label": "Search results" }, this.title, this.groups, this.note, this.more);
  }

  async show(changed) {
    if (!changed.has("q") && !changed.has("tab")) return;
    const { q = "" } = view.now;
    this.hits = [];
    this.before = null;
    replace(this.groups);
    this.more.hidden = true;
    if (q.length < 2) {
      replace(this.title, "Search");
      this.note.textContent = "Write two characters or more of a nick, account, host, address, channel or type of event.";
      return;
    }
    replace(this.title, "Search for ", stranger(q));
    await this.#load();
  }

  async refresh() {}

  async #load() {
    const { q } = view.now;
    this.more.disabled = true;
    this.note.textContent = "Looking …";
    try {
      const found = await this.latest.run((signal) => api.get("admin/search", { q, before: this.before }, signal));
      if (found === undefined) return;
      const known = new Set(this.hits.map((hit) => `${hit.kind}:${hit.key}`));
      this.hits.push(...found.hits.filter((hit) => !known.has(`${hit.kind}:${hit.key}`)));
      this.before = found.before;
      this.#draw();
      const back = found.before === null ? "the whole log" : `the log back to ${when(found.until)}`;
      this.note.textContent = `${plural(this.hits.length, "hit")} in ${back}.`;
      this.more.hidden = found.before === null;
    } catch (error) {
      this.note.textContent = words(error);
      this.more.hidden = false;
    } finally {
      this.more.disabled = false;
    }
  }

  #draw() {
    const groups = Object.entries(TITLES).map(([kind, title]) => {
      const hits = this.hits.filter((hit) => hit.kind === kind);
      if (!hits.length) return null;
      return h(
        "section",
        {},
        h("h3", {}, title, h("span", { class: "count" }, hits.length)),
        h("ul", { class: "hits" }, hits.map((hit) => this.#hit(hit))),
      );
    });
    replace(this.groups, groups);
  }

  #hit(hit) {
    if (hit.kind === "type") {
      const family = familyOf(hit.key);
      return h("li", {}, h("span", { class: `swatch f-${family}` }), h("a", { class: "mono", href: view.link({ ...NOTHING_CHOSEN, tab: "events", types: hit.key, q: null }) }, hit.key));
    }
    const tab = { channel: "channels", user: "users", account: "accounts" }[hit.kind];
    const open = { ...NOTHING_CHOSEN, q: null, [hit.kind]: hit.key };
    return h(
      "li",
      {},
      h("a", { class: "strong", href: view.link({ ...open, tab: hit.now ? tab : "story", ...(hit.now ? { at: null } : {}) }) }, stranger(hit.name)),
      " ",
      hit.now ? h("span", { class: "pill live small" }, "now") : hit.timestamp ? h("span", { class: "faint" }, timeOf(hit.timestamp)) : h("span", { class: "faint" }, "in the past"),
      " ",
      h("span", { class: "faint" }, `${hit.matched} `, stranger(hit.value)),
      " ",
      hit.now ? h("a", { href: view.link({ ...open, tab: "story" }), "aria-label": `Story of ${clean(hit.name)}` }, "story") : null,
      !hit.now && hit.timestamp ? h("a", { href: view.link({ ...open, tab, at: hit.timestamp }), "aria-label": `${clean(hit.name)} at that moment` }, "at that moment") : null,
    );
  }

  stop() {
    this.latest.stop();
  }

  async exported() {
    return { name: "search", items: this.hits };
  }
}
