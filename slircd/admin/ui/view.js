// What the page shows, held by its address: a link is the whole view.
//
//   #channels?at=2026-01-01T12:00:00.000000Z&channel=%23ops
//
// Without `at` it is now.  `from` and `to` are the window of the timeline, a and b the moments that are compared.

export const TABS = ["channels", "users", "bans", "accounts", "events", "compare", "search", "story"];
const NAMES = ["at", "from", "to", "q", "sort", "channel", "user", "account", "ban", "a", "b", "types", "target", "actor", "hide"];

const MOMENTS = ["at", "from", "to", "a", "b"];
const TIMESTAMP = /^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{6}Z$/;

class View extends EventTarget {
  constructor() {
    super();
    this.now = parse(location.hash);
    addEventListener("hashchange", () => this.#take(parse(location.hash)));
  }

  /** Change some of it; null takes a name out.  `quietly` replaces the entry in the browser's history. */
  go(changes, { quietly = false } = {}) {
    const next = { ...this.now, ...changes };
    const hash = format(next);
    if (hash === location.hash) return;
    // History that is written too often is refused by browsers; playing writes quietly and seldom.
    if (quietly) history.replaceState(null, "", hash);
    else history.pushState(null, "", hash);
    this.#take(next);
  }

  /** The address of this view with some changes, for links. */
  link(changes) {
    return format({ ...this.now, ...changes });
  }

  #take(next) {
    const before = this.now;
    this.now = next;
    const changed = new Set(["tab", ...NAMES].filter((name) => (before[name] ?? null) !== (next[name] ?? null)));
    if (changed.size) this.dispatchEvent(new CustomEvent("change", { detail: changed }));
  }
}

function parse(hash) {
  const [tab, query = ""] = hash.replace(/^#\/?/, "").split("?");
  const found = { tab: TABS.includes(tab) ? tab : "channels" };
  const given = new URLSearchParams(query);
  for (const name of NAMES) {
    const value = given.get(name);
    // A link that was cut or mistyped shows what it can.
    if (value && !(MOMENTS.includes(name) && !TIMESTAMP.test(value))) found[name] = value.slice(0, 600);
  }
  return found;
}

function format(view) {
  const query = new URLSearchParams();
  for (const name of NAMES) if (view[name]) query.set(name, view[name]);
  // Colons need no escape behind the #, and times without it can be read.
  const text = query.toString().replaceAll("%3A", ":");
  return `#${view.tab}${text ? `?${text}` : ""}`;
}

export const view = new View();

/** What to forget when something else is looked at. */
export const NOTHING_CHOSEN = { channel: null, user: null, account: null, ban: null };
