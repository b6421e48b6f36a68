// Events in words, with links to whom they speak of.

import { h } from "./dom.js";
import { clean, mono, stranger, when } from "./text.js";
import { NOTHING_CHOSEN, view } from "./view.js";

/** A link to a channel, at the moment that the page shows. */
export function channelLink(name, key = name.toLowerCase()) {
  return h(
    "a",
    { class: "channel", href: view.link({ ...NOTHING_CHOSEN, tab: "channels", channel: key, q: null }) },
    stranger(name),
  );
}

/** A link to the story of a user. */
export function userLink(nick, uid) {
  const known = uid && /^[0-9][0-9A-Z]{2}[0-9A-Z]{6}$/.test(uid);
  if (!known) return stranger(nick || uid || "the server", { class: "nick" });
  return h(
    "a",
    { class: "nick", href: view.link({ ...NOTHING_CHOSEN, tab: "story", user: uid }) },
    stranger(nick || uid),
  );
}

/** A link to an account. */
export function accountLink(name) {
  return h(
    "a",
    { class: "nick", href: view.link({ ...NOTHING_CHOSEN, tab: "accounts", account: name.toLowerCase(), q: null }) },
    stranger(name),
  );
}

/** Who caused an event. */
export function actorOf(event) {
  const { actor_uid: uid, payload } = event;
  if (uid?.startsWith("admin:")) return h("span", { class: "nick" }, stranger(uid.slice(6)), " (API)");
  if (uid?.startsWith("plugin:")) return h("span", { class: "nick" }, "plugin ", stranger(uid.slice(7)));
  if (uid === "chanserv" && payload.nick && payload.nick !== "ChanServ") {
    return h("span", {}, userLink(payload.nick, null), " (ChanServ)");
  }
  if (!uid || uid === "server") return payload.nick ? userLink(payload.nick, uid) : h("span", {}, "the server");
  return userLink(payload.nick || uid, uid);
}

const because = (reason) => (reason ? [": ", stranger(reason, { class: "said" })] : []);

function modes(changes) {
  return changes.flatMap(({ sign, mode, param, uid }) => {
    const value = param ? [" ", uid ? userLink(param, uid) : mono(mode === "k" ? "*" : param)] : [];
    return [" ", h("span", { class: "mono" }, `${sign}${mode}`), ...value];
  });
}

const there = (event) => channelLink(event.payload.name || event.target, event.target);

const WORDS = {
  "user.connect": (e, p) => [userLink(p.nick, e.target), " connected from ", mono(`${p.username}@${p.host}`)],
  "user.disconnect": (e, p) => [userLink(p.nick, e.target), " disconnected", because(p.reason)],
  "user.nick_change": (e, p) => [userLink(p.nick, e.target), " is now ", userLink(p.new_nick, e.target)],
  "user.mode_change": (e, p) => ["user modes of ", userLink(p.nick, e.target), modes(p.changes)],
  "user.away": (e, p) => [userLink(p.nick, e.target), p.message ? [" is away", because(p.message)] : " is back"],
  "user.account": (e, p) => [
    userLink(p.nick, e.target),
    p.account ? [" logged in as ", accountLink(p.account)] : " logged out",
  ],
  "user.host_change": (e, p) => [userLink(p.nick, e.target), " has the host ", mono(`${p.username}@${p.host}`)],
  "user.realname_change": (e, p) => [userLink(p.nick, e.target), " has the real name ", stranger(p.realname)],
  "channel.create": (e) => [actorOf(e), " created ", there(e)],
  "channel.destroy": (e) => [there(e), " ended"],
  "channel.join": (e, p) => [
    userLink(p.member, p.member_uid),
    " joined ",
    there(e),
    p.prefixes ? [" with ", h("span", { class: "mono" }, `+${p.prefixes}`)] : [],
    p.member === p.nick ? [] : [", made to by ", actorOf(e)],
  ],
  "channel.part": (e, p) => [
    userLink(p.member, p.member_uid),
    " left ",
    there(e),
    p.member === p.nick ? [] : [", made to by ", actorOf(e)],
    because(p.reason),
  ],
  "channel.kick": (e, p) => [
    actorOf(e),
    " kicked ",
    userLink(p.member, p.member_uid),
    " from ",
    there(e),
    because(p.reason),
  ],
  "channel.invite": (e, p) => [actorOf(e), " invited ", userLink(p.member, p.member_uid), " to ", there(e)],
  "channel.rename": (e, p) => [actorOf(e), " renamed ", stranger(p.name), " to ", channelLink(p.new_name), because(p.reason)],
  "channel.topic_change": (e, p) =>
    p.topic
      ? [actorOf(e), " set the topic of ", there(e), because(p.topic)]
      : [actorOf(e), " removed the topic of ", there(e)],
  "channel.mode_change": (e, p) => [actorOf(e), " changed ", there(e), modes(p.changes)],
  "channel.ban_add": (e, p) => [
    actorOf(e),
    " set ",
    h("span", { class: "mono" }, `+${p.mode}`),
    " ",
    mono(p.mask),
    " on ",
    there(e),
    p.expires ? ` until ${when(p.expires)}` : "",
  ],
  "channel.ban_remove": (e, p) => [
    actorOf(e),
    " removed ",
    h("span", { class: "mono" }, `+${p.mode}`),
    " ",
    mono(p.mask),
    " on ",
    there(e),
  ],
  "services.nick_register": (e, p) => [actorOf(e), " registered the account ", accountLink(p.account)],
  "services.nick_identify": (e, p) => [actorOf(e), " proved to own ", accountLink(p.account)],
  "services.nick_drop": (e, p) => [actorOf(e), " dropped the account ", stranger(p.account)],
  "services.chan_register": (e, p) => [actorOf(e), " registered ", there(e), " to ", accountLink(p.founder)],
  "services.chan_drop": (e) => [actorOf(e), " dropped the registration of ", there(e)],
  "services.chan_flags": (e, p) => [
    actorOf(e),
    " changed the flags of ",
    mono(p.entry),
    " on ",
    there(e),
    ": ",
    h("span", { class: "mono" }, `+${p.previous} → +${p.flags}`),
    because(p.reason),
  ],
  "services.chan_set": (e, p) => [
    actorOf(e),
    " set ",
    h("span", { class: "mono" }, clean(p.setting).toUpperCase()),
    " of ",
    there(e),
    " to ",
    p.value ? stranger(p.value) : "nothing",
  ],
  "services.chan_restore": (e, p) => [actorOf(e), " restored ", there(e), ` as it was at ${when(p.at)}`],
  "oper.login": (e, p) => [actorOf(e), " became IRC operator ", stranger(p.oper)],
  "oper.kill": (e, p) => [actorOf(e), " killed ", userLink(p.member, e.target), because(p.reason)],
  "oper.rehash": (e) => [actorOf(e), " read the configuration again"],
  "message.privmsg": (e, p) => message(e, p, "to"),
  "message.notice": (e, p) => message(e, p, "(notice) to"),
  "message.tagmsg": (e, p) => message(e, p, "(tags) to"),
  "message.redact": (e, p) => [actorOf(e), " redacted a message to ", stranger(p.to), because(p.reason)],
  "server.start": (e, p) => ["server ", stranger(p.name), " started"],
  "server.stop": (e, p) => ["server ", stranger(p.name), " stopped", because(p.reason)],
};

function message(e, p, how) {
  // What was said is there for admins only.
  const to = p.to?.startsWith("#") ? channelLink(p.to) : stranger(p.to ?? e.target);
  return [actorOf(e), ` ${how} `, to, because(p.text)];
}

function line(e, p) {
  const kind = e.event_type.slice("oper.".length);
  if (kind.startsWith("un")) return [actorOf(e), ` removed the ${kind.slice(2)} `, mono(p.mask)];
  return [
    actorOf(e),
    ` set a ${kind} on `,
    mono(p.mask),
    p.expires ? ` until ${when(p.expires)}` : "",
    because(p.reason),
  ];
}

/** What happened, as children of an element. */
export function tell(event) {
  const payload = event.payload ?? {};
  try {
    if (WORDS[event.event_type]) return WORDS[event.event_type](event, payload);
    if (event.event_type.startsWith("oper.") && payload.mask) return line(event, payload);
  } catch {
    // An event of another version may lack what the words need; then it is shown as it is.
  }
  // The server may know words that this page does not.
  if (event.text) return [stranger(event.text)];
  const fields = Object.entries(payload).filter(([name, value]) => !["v", "nick"].includes(name) && value !== null);
  const told = fields.map(([name, value]) => [
    " ",
    h("span", { class: "field" }, `${clean(name)} `),
    mono(typeof value === "string" ? value : JSON.stringify(value)),
  ]);
  const target = event.target?.startsWith("#") ? [" on ", channelLink(event.target)] : [];
  return [actorOf({ ...event, payload }), target, told];
}

/** The same as plain text. */
export function tellPlain(event) {
  return h("span", {}, tell(event)).textContent;
}
