// Two moments side by side, what changed highlighted.

import { Latest, api, words } from "./api.js";
import { changesTable, valueOf } from "./changes.js";
import { button, h, replace, say } from "./dom.js";
import { part } from "./panel.js";
import { clean, mono, parseMoment, plural, stranger, toTimestamp, when } from "./text.js";
import { view } from "./view.js";

const SECTIONS = { channels: "Channels", bans: "Network bans", accounts: "Accounts", users: "Users" };
const MANY = 100;

export class ComparePanel {
  constructor() {
    this.latest = new Latest();
    this.changes = [];
    this.first = this.#field("a", "First moment");
    this.second = this.#field("b", "Second moment, empty for now");
    this.filter = h("input", {
      type: "search",
      class: "filter",
      placeholder: "Only what contains …",
      "aria-label": "Only what contains",
      oninput: () => view.go({ q: this.filter.value.trim() || null }, { quietly: true }),
    });
    this.result = h("div", { class: "differences", "aria-live": "off" });
    this.note = h("p", { class: "faint", role: "status" });
    this.element = h(
      "section",
      { class: "compare", "aria-label": "Compare two moments" },
      h(
        "div",
        { class: "compare-head", role: "group", "aria-label": "Moments" },
        this.first.element,
        this.second.element,
        button("Swap", () => view.go({ a: view.now.b ?? toTimestamp(Date.now()), b: view.now.a ?? null }, { quietly: true })),
        this.filter,
      ),
      this.note,
      this.result,
    );
  }

  #field(name, label) {
    const input = h("input", {
      type: "text",
      class: "mono",
      size: 24,
      spellcheck: "false",
      placeholder: name === "a" ? "-1h, or 2026-01-31 14:05" : "now",
      id: `compare-${name}`,
      onchange: () => {
        const text = input.value.trim();
        const moment = text && text !== "now" ? parseMoment(text) : null;
        if (text && text !== "now" && !moment) {
          input.setAttribute("aria-invalid", "true");
          say("That is no time");
          return;
        }
        view.go({ [name]: relative(moment) }, { quietly: true });
      },
    });
    const here = button("This moment", () => view.go({ [name]: view.now.at ?? (name === "b" ? null : toTimestamp(Date.now())) }, { quietly: true }), {
      title: "Take the moment that the page shows",
      "aria-label": `${label}: take the moment that the page shows`,
    });
    return { input, element: h("div", { class: "moment-choice" }, h("label", { for: `compare-${name}` }, label), input, here) };
  }

  async show(changed) {
    if (changed.has("tab") && !view.now.a && view.now.at) {
      view.go({ a: view.now.at }, { quietly: true });
      return;
    }
    for (const [name, field] of [["a", this.first], ["b", this.second]]) {
      field.input.value = view.now[name] ? when(view.now[name], true) : "";
      field.input.removeAttribute("aria-invalid");
    }
    if (document.activeElement !== this.filter) this.filter.value = view.now.q ?? "";
    if (["tab", "a", "b"].some((name) => changed.has(name))) await this.#load();
    else if (changed.has("q")) this.#draw();
  }

  async refresh() {}

  async #load() {
    const { a = null, b = null } = view.now;
    if (!a) {
      this.changes = [];
      this.note.textContent = "";
      replace(this.result, h("p", { class: "empty" }, "Choose a first moment: write it, or take the one that the page shows."));
      return;
    }
    const [from, to] = b && b < a ? [b, a] : [a, b];
    this.note.textContent = "Comparing …";
    this.element.setAttribute("aria-busy", "true");
    try {
      const found = await this.latest.run((signal) => api.get("admin/diff", { from, to }, signal));
      if (found === undefined) return;
      this.changes = found.changes;
      this.names = [`${when(from, true)} UTC`, to ? `${when(to, true)} UTC` : "now"];
      this.#draw();
    } catch (error) {
      this.changes = [];
      this.note.textContent = "";
      replace(this.result, h("div", { class: "empty" }, h("p", {}, words(error)), button("Try again", () => this.#load())));
    } finally {
      this.element.removeAttribute("aria-busy");
    }
  }

  get #found() {
    const word = (view.now.q ?? "").toLowerCase();
    return this.changes.filter((change) => !word || JSON.stringify([change.path, change.before, change.after]).toLowerCase().includes(word));
  }

  #draw() {
    const found = this.#found;
    this.note.textContent = found.length ? `${plural(found.length, "difference")}.` : "Nothing differs.";
    const blocks = Object.entries(SECTIONS).map(([section, title]) => {
      const changes = found.filter((change) => change.path[0] === section);
      if (!changes.length) return null;
      const things = Map.groupBy ? Map.groupBy(changes, (change) => change.path[1]) : group(changes);
      return part(`diff-${section}`, title, things.size, this.#things([...things]));
    });
    replace(this.result, blocks);
  }

  #things(things) {
    const list = h("div", {});
    let shown = 0;
    const more = button("", () => show(), { class: "link" });
    const show = () => {
      const some = things.slice(shown, shown + MANY);
      shown += some.length;
      list.append(...some.map(([name, changes]) => this.#thing(name, changes)));
      more.hidden = shown >= things.length;
      more.textContent = `Show more (${things.length - shown})`;
    };
    show();
    return [list, more];
  }

  #thing(name, changes) {
    const [first] = changes;
    const whole = changes.length === 1 && first.path.length === 2;
    const document = first.after ?? first.before;
    const title = first.path[0] === "users" && !document?.nick ? this.#named(name) : document?.nick ? [stranger(document.nick), h("span", { class: "faint" }, ` ${clean(name)}`)] : stranger(name);
    const [before, after] = this.names;
    return h(
      "article",
      { class: `thing ${whole ? first.kind : "changed"}` },
      h("h4", {}, h("span", { class: `kind ${whole ? first.kind : "changed"}` }, whole ? first.kind : "changed"), " ", title),
      whole
        ? h(
            "div",
            { class: "sides" },
            h("div", { class: first.kind === "removed" ? "old" : "none" }, h("p", { class: "side-name" }, before), first.kind === "removed" ? valueOf(first.before) : "not there"),
            h("div", { class: first.kind === "added" ? "new" : "none" }, h("p", { class: "side-name" }, after), first.kind === "added" ? valueOf(first.after) : "not there"),
          )
        : changesTable(changes, before, after),
    );
  }

  /** A user of whom only some things changed: the difference has no nick, the moment has. */
  #named(uid) {
    const title = h("span", {}, mono(uid));
    this.naming = (this.naming ?? Promise.resolve()).then(async () => {
      if (!title.isConnected) return;
      try {
        const user = await api.get("admin/moment/user", { name: uid, at: view.now.b ?? null });
        replace(title, stranger(user.nick), h("span", { class: "faint" }, ` ${clean(uid)}`));
      } catch {
        // The UID says enough.
      }
    });
    return title;
  }

  stop() {
    this.latest.stop();
  }

  async exported() {
    return { name: "differences", items: this.#found };
  }
}

function relative(moment) {
  if (!moment?.startsWith("-")) return moment;
  const unit = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 }[moment.at(-1)];
  return toTimestamp(Date.now() - Number(moment.slice(1, -1)) * unit * 1000);
}

function group(changes) {
  const found = new Map();
  for (const change of changes) found.set(change.path[1], [...(found.get(change.path[1]) ?? []), change]);
  return found;
}
