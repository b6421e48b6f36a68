// The page: who is logged in, what the address says, and the panel that shows it.

import { Away, api, words } from "./api.js";
import { ChannelsPanel } from "./channels.js";
import { Clock } from "./clock.js";
import { ComparePanel } from "./compare.js";
import { button, h, replace, say, throttled } from "./dom.js";
import { EventsPanel } from "./events.js";
import { save } from "./export.js";
import { learn } from "./families.js";
import { Live } from "./live.js";
import { logIn } from "./login.js";
import { AccountsPanel, BansPanel, UsersPanel } from "./people.js";
import { SearchPanel } from "./search.js";
import { StoryPanel } from "./story.js";
import { count } from "./text.js";
import { Timeline } from "./timeline.js";
import { NOTHING_CHOSEN, TABS, view } from "./view.js";

const place = (id) => document.getElementById(id);
const NAMES = {
  channels: "Channels",
  users: "Users",
  bans: "Network bans",
  accounts: "Accounts",
  events: "Events",
  compare: "Compare",
  search: "Search",
  story: "Story",
};
const EVERYTHING = new Set(["tab", "at", "q", "channel", "user", "account", "ban", "sort", "a", "b", "types", "target", "actor", "from", "to"]);

class Page {
  constructor() {
    this.live = new Live();
    this.panel = null;
    this.busy = Promise.resolve();
    this.refreshSoon = throttled(() => this.#refresh(), 1500);
    this.counts = throttled(() => this.#count(), 1000);
    view.addEventListener("change", (event) => this.started && this.#changed(event.detail));
    api.addEventListener("signed-out", (event) => this.#signedOut(event.detail));
    api.addEventListener("away", (event) => this.#away(event.detail));
    this.live.addEventListener("events", () => this.#happened());
    addEventListener("keydown", (event) => this.#key(event));
    place("skip").addEventListener("click", (event) => {
      // The address holds the view, so a link to #main would lose it.
      event.preventDefault();
      place("main").focus();
    });
  }

  async start() {
    this.#drawTop();
    try {
      if (!(await api.resume())) await this.#ask("");
    } catch (error) {
      replace(place("main"), h("div", { class: "empty" }, h("p", {}, words(error)), button("Try again", () => this.start())));
      return;
    }
    await this.#begin();
  }

  async #ask(reason) {
    document.title = "Log in – slircd time machine";
    await logIn(place("main"), reason);
  }

  async #begin() {
    const catalogue = await api.get("admin/catalogue");
    learn(catalogue.families);
    api.actions = new Set(catalogue.actions);
    this.server = catalogue.server;
    this.#drawTop();
    place("timeline").hidden = false;
    place("tabs").hidden = false;
    const chart = h("div", {});
    const clock = h("div", { class: "clock" });
    replace(place("timeline"), chart, clock);
    this.timeline = new Timeline(chart, (at) => this.clock.go(at));
    this.clock = new Clock(clock, this.timeline, () => this.busy);
    this.timeline.onload = () => this.clock.show();
    this.started = true;
    this.#drawTabs();
    this.#changed(EVERYTHING);
  }

  // --- around it -----------------------------------------------------------------------------------------------------

  #drawTop() {
    const dark = () => (document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
    const theme = button(dark() ? "Light" : "Dark", () => {
      const next = dark() ? "light" : "dark";
      document.documentElement.dataset.theme = next;
      try {
        localStorage.setItem("slircd.theme", next);
      } catch {
        // Then it is chosen for this visit only.
      }
      theme.textContent = next === "dark" ? "Light" : "Dark";
    }, { title: "Light or dark", "aria-label": "Switch between light and dark" });
    const search = h("input", {
      type: "search",
      id: "search",
      placeholder: "Search nick, account, host, channel, type",
      "aria-label": "Search the whole log",
      spellcheck: "false",
      value: view.now.tab === "search" ? (view.now.q ?? "") : "",
    });
    replace(
      place("top"),
      h("h1", {}, h("span", { class: "brand" }, "slircd"), " time machine"),
      this.server ? h("span", { class: "server mono" }, this.server) : null,
      this.server
        ? h("form", { role: "search", onsubmit: (event) => {
            event.preventDefault();
            view.go({ ...NOTHING_CHOSEN, tab: "search", q: search.value.trim() || null });
          } }, search)
        : h("span", { class: "push" }),
      theme,
      api.user ? h("span", { class: "who" }, h("strong", {}, api.user.name), h("span", { class: "tag" }, api.user.role)) : null,
      api.user ? button("Log out", () => api.logOut()) : null,
    );
  }

  #drawTabs() {
    this.tabs = new Map(TABS.map((tab) => [tab, h("a", { class: "tab" }, NAMES[tab], h("span", { class: "count" }))]));
    const format = h("select", { "aria-label": "Export what is shown", onchange: () => this.#export(format) }, [
      h("option", { value: "" }, "Export …"),
      h("option", { value: "json" }, "JSON"),
      h("option", { value: "csv" }, "CSV"),
      h("option", { value: "txt" }, "Text"),
    ]);
    const copy = button("Copy link", async () => {
      try {
        await navigator.clipboard.writeText(location.href);
        say("The link is copied");
        copy.textContent = "Copied";
        setTimeout(() => (copy.textContent = "Copy link"), 2000);
      } catch {
        say("The browser does not let pages copy: take the link from the address bar");
      }
    }, { title: "A link to exactly this view" });
    replace(place("tabs"), h("div", { class: "tab-list" }, [...this.tabs.values()]), h("div", { class: "push tools" }, copy, format));
  }

  #markTabs() {
    const keep = { channels: ["channel"], users: ["user"], bans: ["ban"], accounts: ["account"] };
    for (const [tab, link] of this.tabs) {
      const chosen = { ...NOTHING_CHOSEN, ...Object.fromEntries((keep[tab] ?? []).map((name) => [name, view.now[name] ?? null])) };
      link.href = view.link({ ...chosen, tab, q: tab === view.now.tab ? (view.now.q ?? null) : null });
      if (tab === view.now.tab) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
      // A story or a search is a tab only while there is one.
      link.hidden = ["search", "story"].includes(tab) && tab !== view.now.tab;
    }
  }

  async #export(format) {
    const chosen = format.value;
    format.value = "";
    if (!chosen || !this.panel) return;
    try {
      save(await this.panel.exported(), chosen);
      say("The file is saved");
    } catch (error) {
      this.#banner(words(error));
    }
  }

  #banner(text) {
    const banner = place("banner");
    banner.textContent = text;
    banner.hidden = !text;
  }

  #away(away) {
    this.#banner(away ? "The server does not answer. What you see stays; the page goes on when the server is back." : "");
    if (away) this.#knock();
    else if (this.started) this.#refresh();
  }

  async #knock() {
    while (api.away) {
      await new Promise((done) => setTimeout(done, 2000));
      try {
        await api.get("healthz");
      } catch (error) {
        if (!(error instanceof Away)) return;
      }
    }
  }

  async #signedOut(reason) {
    if (!this.started) return;
    this.started = false;
    this.clock.pause();
    this.live.stop();
    this.panel?.stop();
    this.panel = null;
    for (const dialog of document.querySelectorAll("dialog")) dialog.close();
    place("timeline").hidden = true;
    place("tabs").hidden = true;
    this.server = null;
    this.#banner("");
    this.#drawTop();
    await this.#ask(reason);
    await this.#begin();
    place("main").focus();
  }

  // --- what is shown ---------------------------------------------------------------------------------------------------

  #changed(changed) {
    if (changed.has("from") || changed.has("to")) this.timeline.refresh();
    if (changed.has("at")) {
      if (view.now.at) this.live.stop();
      else this.live.start();
      this.counts();
    }
    if (changed.has("at") || changed.has("tab")) this.clock.show();
    if (changed.has("tab")) this.#open(view.now.tab);
    this.#markTabs();
    document.title = `${NAMES[view.now.tab]}${view.now.at ? ` at ${view.now.at.slice(0, 19).replace("T", " ")}` : ""} – slircd time machine`;
    this.busy = Promise.resolve(this.panel.show(changed)).catch((error) => this.#banner(words(error)));
  }

  #open(tab) {
    this.panel?.stop();
    const panels = {
      channels: () => new ChannelsPanel(),
      users: () => new UsersPanel(),
      bans: () => new BansPanel(),
      accounts: () => new AccountsPanel(),
      events: () => new EventsPanel(this.live),
      compare: () => new ComparePanel(),
      search: () => new SearchPanel(),
      story: () => new StoryPanel(),
    };
    this.panel = panels[tab]();
    replace(place("main"), this.panel.element);
  }

  #happened() {
    if (view.now.at) return;
    this.refreshSoon();
  }

  async #refresh() {
    if (!this.started) return;
    this.timeline.refresh();
    if (view.now.at) return;
    this.clock.show();
    this.counts();
    try {
      await this.panel?.refresh();
    } catch (error) {
      this.#banner(words(error));
    }
  }

  async #count() {
    try {
      const { counts } = await api.get("admin/moment", { at: view.now.at ?? null });
      for (const [tab, number] of Object.entries(counts)) this.tabs.get(tab).querySelector(".count").textContent = count(number);
    } catch {
      for (const link of this.tabs.values()) link.querySelector(".count").textContent = "";
    }
  }

  #key(event) {
    const writes = event.target.closest?.("input, select, textarea, dialog");
    if (!this.started || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "/" && !writes) {
      event.preventDefault();
      place("search").focus();
    } else if (event.key === "," && !writes) this.clock.step(-1);
    else if (event.key === "." && !writes) this.clock.step(1);
    else if (event.key === "n" && !writes) this.clock.go(null);
    else if (event.key === "p" && !writes) this.clock.play(event.shiftKey ? -1 : 1);
  }
}

new Page().start();
