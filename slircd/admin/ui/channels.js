// The channels at a moment; of the chosen one everything, and who set it and when.

import { changeModes, kick, restore, setTopic } from "./actions.js";
import { api } from "./api.js";
import { button, h } from "./dom.js";
import { ListPanel, facts, heading, part, table } from "./panel.js";
import { clean, count, mono, stranger, timeOf, when } from "./text.js";
import { explain } from "./tooltip.js";
import { NOTHING_CHOSEN, view } from "./view.js";
import { accountLink, userLink } from "./words.js";

const RANKS = [
  ["q", "~", "Founders"],
  ["a", "&", "Admins"],
  ["o", "@", "Operators"],
  ["h", "%", "Half-operators"],
  ["v", "+", "Voiced"],
  ["", "", "Members"],
];
const LISTS = { b: "Bans", e: "Ban exceptions", I: "Invite exceptions", q: "Quiets" };
const MODES = {
  i: "invite only",
  m: "moderated",
  n: "no messages from outside",
  p: "private",
  s: "secret",
  t: "topic by operators only",
  k: "key",
  l: "limit",
  f: "flood limit",
  j: "join limit",
  c: "no colours",
  C: "no CTCP",
  r: "registered",
  R: "registered users only",
  M: "registered users speak",
  P: "permanent",
  S: "TLS only",
  z: "TLS only",
};
const MANY = 300;

export class ChannelsPanel extends ListPanel {
  constructor() {
    super({
      label: "Channels",
      section: "channels",
      chosen: "channel",
      empty: "No channels at this moment.",
      rowHeight: 44,
      sorts: [
        ["name", "by name"],
        ["members", "largest first"],
      ],
      key: (channel) => channel.key,
      row: (channel) => [
        h(
          "div",
          { class: "row-line" },
          stranger(channel.name, { class: "strong" }),
          h("span", { class: "mono faint" }, channel.modes ? `+${channel.modes}` : ""),
          channel.registered ? h("span", { class: "tag" }, "registered") : null,
          h("span", { class: "push count" }, count(channel.members)),
        ),
        h("div", { class: "row-line faint" }, stranger(channel.topic, { class: "ellipsis" })),
      ],
    });
  }

  hint() {
    return "Choose a channel to see its members, modes, topic and bans, and who set them.";
  }

  gone(key) {
    return [stranger(key), " did not exist at this moment."];
  }

  others(key) {
    return h("p", {}, h("a", { href: view.link({ ...NOTHING_CHOSEN, tab: "story", channel: key }) }, "Its story"));
  }

  async load(key, at, signal) {
    const [channel, blamed] = await Promise.all([
      api.get("admin/moment/channel", { name: key, at }, signal),
      api.get("admin/blame", { channel: key, at }, signal),
    ]);
    return { channel, blamed };
  }

  draw({ channel, blamed }, key) {
    this.shown = channel;
    const at = view.now.at ?? null;
    const by = (what, value) => blamed.find((each) => each.what === what && (value === undefined || each.value === value));
    return [
      heading(
        stranger(channel.name),
        button("Story", () => view.go({ ...NOTHING_CHOSEN, tab: "story", channel: key })),
        button("Compare", () => view.go({ tab: "compare", a: at, b: null, q: channel.name })),
        api.may("restore") && at ? button("Restore …", () => restore(channel.name, at), { class: "primary" }) : null,
        api.may("topic") && !at ? button("Topic …", () => setTopic(channel)) : null,
        api.may("mode") && !at ? button("Modes …", () => changeModes(channel)) : null,
        api.may("kick") && !at && channel.members.length ? button("Kick …", () => kick(channel)) : null,
      ),
      this.#topic(channel, by),
      this.#modes(channel, by),
      facts([
        ["Created", timeOf(channel.created_at)],
        ["Invited", channel.invited.length ? clean(channel.invited.join(", ")) : null],
      ]),
      this.#members(channel, by),
      Object.keys({ b: 1, ...channel.lists }).map((mode) => this.#list(mode, channel.lists[mode] ?? [], by)),
      channel.registration ? this.#registration(channel.registration, by) : null,
    ];
  }

  #topic(channel, by) {
    if (!channel.topic) return h("p", { class: "topic faint" }, "No topic");
    return h(
      "p",
      { class: "topic" },
      explain(stranger(channel.topic.text), () => [
        setBy(by("topic"), channel.topic.set_by, channel.topic.set_at),
      ]),
    );
  }

  #modes(channel, by) {
    const parameters = Object.entries(channel.params).map(([mode, value]) => [mode, value]);
    const modes = [...[...channel.modes].map((mode) => [mode, null]), ...parameters];
    if (!modes.length) return h("p", { class: "faint" }, "No modes");
    return h(
      "ul",
      { class: "chips", "aria-label": "Modes" },
      modes.map(([mode, value]) =>
        h(
          "li",
          {},
          explain(
            h("span", { class: "chip" }, h("span", { class: "mono" }, `+${mode}`), value ? [" ", mono(value)] : null, h("span", { class: "faint" }, ` ${MODES[mode] ?? ""}`)),
            () => setBy(by(`mode +${mode}`)),
          ),
        ),
      ),
    );
  }

  #members(channel, by) {
    const groups = RANKS.map(([mode, sign, title]) => ({ mode, sign, title, members: [] }));
    for (const member of channel.members) {
      groups.find(({ mode }) => mode === "" || member.prefixes.includes(mode)).members.push(member);
    }
    const blocks = groups
      .filter(({ members }) => members.length)
      .map(({ title, sign, members }) => {
        members.sort((one, other) => (one.nick.toLowerCase() < other.nick.toLowerCase() ? -1 : 1));
        const list = h("ul", { class: "chips members", "aria-label": title });
        let shown = 0;
        const more = button("", () => show(), { class: "link" });
        const show = () => {
          const some = members.slice(shown, shown + MANY);
          shown += some.length;
          list.append(...some.map((member) => this.#member(member, sign, by)));
          more.hidden = shown >= members.length;
          more.textContent = `Show more (${count(members.length - shown)})`;
        };
        show();
        return [h("h4", {}, title, h("span", { class: "count" }, count(members.length))), list, more];
      });
    return part("members", "Members", channel.members.length, blocks.length ? blocks : h("p", { class: "faint" }, "Nobody"));
  }

  #member(member, sign, by) {
    const link = userLink(member.nick, member.uid);
    const chip = h("span", { class: "chip" }, h("span", { class: "mono sign" }, sign), link);
    const show = () => {
      const found = [...member.prefixes].map((mode) => [mode, by(`mode +${mode}`, member.nick)]);
      if (!found.length) return [clean(member.nick), ": no rank"];
      return found.map(([mode, blame]) => h("div", {}, h("span", { class: "mono" }, `+${mode} `), blame ? setBy(blame) : "since joining, or before a change of nick"));
    };
    explain(link, show);
    return h("li", {}, chip);
  }

  #list(mode, entries, by) {
    const rows = entries.map((entry) => {
      const blame = by(`list ${mode}`, entry.mask);
      return [
        explain(mono(entry.mask), () => setBy(blame, entry.set_by, entry.set_at)),
        stranger(entry.set_by.split("!")[0]),
        timeOf(entry.set_at),
        entry.expires ? timeOf(entry.expires) : "never",
      ];
    });
    const title = LISTS[mode] ?? `List ${mode}`;
    return part(`list-${mode}`, title, entries.length, rows.length ? table(title, ["Mask", "Set by", "When", "Ends"], rows) : h("p", { class: "faint" }, "None"));
  }

  #registration(registration, by) {
    const access = registration.access.map((entry) => [
      explain(mono(entry.entry), () => setBy(blameOfAccess(by, entry), entry.set_by, entry.set_at)),
      explain(h("span", { class: "mono" }, `+${clean(entry.flags)}`), () => setBy(blameOfAccess(by, entry), entry.set_by, entry.set_at)),
      stranger(entry.set_by),
      timeOf(entry.set_at),
      stranger(entry.reason),
    ]);
    return part(
      "registration",
      "Registration",
      null,
      facts([
        ["Founder", accountLink(registration.founder)],
        ["Since", timeOf(registration.registered_at)],
        ...Object.entries(registration.settings).map(([name, value]) => [
          clean(name),
          explain(stranger(value), () => setBy(by("setting", `${name} ${value}`))),
        ]),
      ]),
      access.length ? table("Access", ["Entry", "Flags", "Set by", "When", "Reason"], access) : null,
    );
  }

  async exported() {
    if (view.now.channel && this.shown) return { name: `channel-${view.now.channel}`, items: [this.shown] };
    return super.exported();
  }
}

const blameOfAccess = (by, entry) => by("access", `${entry.entry} +${entry.flags}`);

/** Who set something and when, for a tooltip. */
function setBy(blame, mask = null, at = null) {
  if (!blame && !mask) return "Set when the channel was created, or before this log";
  return [
    h("div", {}, "Set by ", blame ? h("strong", {}, stranger(blame.by)) : stranger(mask), mask && blame ? h("span", { class: "mono faint" }, ` ${clean(mask)}`) : null),
    h("div", {}, `${when(blame?.timestamp ?? at, true)} UTC`, blame ? h("span", { class: "faint" }, ` · event ${blame.event_id}`) : null),
  ];
}

