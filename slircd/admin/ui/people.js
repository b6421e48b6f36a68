// Users, accounts and network bans at a moment.

import { banUser, killUser, liftBan, setBan } from "./actions.js";
import { api } from "./api.js";
import { button, h } from "./dom.js";
import { ListPanel, facts, heading } from "./panel.js";
import { clean, count, mono, stranger, timeOf } from "./text.js";
import { explain } from "./tooltip.js";
import { NOTHING_CHOSEN, view } from "./view.js";
import { accountLink, channelLink } from "./words.js";

export class UsersPanel extends ListPanel {
  constructor() {
    super({
      label: "Users",
      section: "users",
      chosen: "user",
      empty: "Nobody at this moment.",
      rowHeight: 44,
      key: (user) => user.uid,
      row: (user) => [
        h(
          "div",
          { class: "row-line" },
          stranger(user.nick, { class: "strong" }),
          user.oper ? h("span", { class: "tag oper" }, "operator") : null,
          user.away ? h("span", { class: "tag" }, "away") : null,
          user.account ? h("span", { class: "faint" }, "account ", stranger(user.account)) : null,
          h("span", { class: "push count" }, count(user.channels)),
        ),
        h("div", { class: "row-line mono faint" }, stranger(`${user.username}@${user.host}`, { class: "ellipsis" })),
      ],
    });
  }

  hint() {
    return "Choose a user to see host, account, modes and channels.";
  }

  gone(uid) {
    return ["The user ", mono(uid), " was not here at this moment."];
  }

  others(uid) {
    return h("p", {}, h("a", { href: view.link({ ...NOTHING_CHOSEN, tab: "story", user: uid }) }, "The story of this user"));
  }

  load(uid, at, signal) {
    return api.get("admin/moment/user", { name: uid, at }, signal);
  }

  draw(user) {
    this.shown = user;
    const now = !view.now.at;
    return [
      heading(
        stranger(user.nick),
        button("Story", () => view.go({ ...NOTHING_CHOSEN, tab: "story", user: user.uid })),
        api.may("kill") && now ? button("Kill …", () => killUser(user)) : null,
        api.may("kline") && now ? button("Ban …", () => banUser(user)) : null,
      ),
      facts([
        ["Mask", mono(`${user.nick}!${user.username}@${user.host}`)],
        ["Real host", mono(user.real_host)],
        ["Real name", stranger(user.realname)],
        ["Account", user.account ? accountLink(user.account) : null],
        ["Operator", user.oper ? stranger(user.oper) : null],
        ["Modes", user.modes ? h("span", { class: "mono" }, `+${user.modes}`) : null],
        ["Away", user.away === null ? null : stranger(user.away)],
        ["Connected", [timeOf(user.connected_at), user.secure ? " over TLS" : ""]],
        ["UID", mono(user.uid)],
      ]),
      h("h3", {}, "Channels", h("span", { class: "count" }, count(user.channels.length))),
      user.channels.length
        ? h("ul", { class: "chips" }, user.channels.map((name) => h("li", {}, h("span", { class: "chip" }, channelLink(name)))))
        : h("p", { class: "faint" }, "On no channel"),
    ];
  }

  async exported() {
    if (view.now.user && this.shown) return { name: `user-${this.shown.nick}`, items: [this.shown] };
    return super.exported();
  }
}

export class AccountsPanel extends ListPanel {
  constructor() {
    super({
      label: "Accounts",
      section: "accounts",
      chosen: "account",
      empty: "No accounts at this moment.",
      key: (account) => account.name.toLowerCase(),
      row: (account) => [
        h(
          "div",
          { class: "row-line" },
          stranger(account.name, { class: "strong" }),
          account.verified ? null : h("span", { class: "tag" }, "not verified"),
          h("span", { class: "push faint" }, timeOf(account.registered_at)),
        ),
      ],
    });
  }

  async load(key, at, signal) {
    const page = await api.get("admin/moment/accounts", { at, match: key, limit: 1000 }, signal);
    return page.items.find((account) => account.name.toLowerCase() === key) ?? null;
  }

  draw(account, key) {
    this.shown = account;
    const story = button("Story", () => view.go({ ...NOTHING_CHOSEN, tab: "story", account: key }));
    if (!account) return [heading(stranger(key), story), h("p", { class: "empty" }, "There was no such account at this moment.")];
    return [
      heading(stranger(account.name), story),
      facts([
        ["Registered", timeOf(account.registered_at)],
        ["Verified", account.verified ? "yes" : "no"],
        ["Nicks", clean(account.nicks.join(", "))],
        ["Certificates", count(account.certificates)],
        ...Object.entries(account.settings).map(([name, value]) => [clean(name), stranger(value)]),
      ]),
    ];
  }
}

const banKey = (ban) => `${ban.kind} ${ban.mask}`;

export class BansPanel extends ListPanel {
  constructor() {
    super({
      label: "Network bans",
      section: "bans",
      chosen: "ban",
      empty: "No network bans at this moment.",
      rowHeight: 44,
      key: banKey,
      row: (ban) => [
        h(
          "div",
          { class: "row-line" },
          h("span", { class: "tag oper" }, clean(ban.kind)),
          explain(mono(ban.mask), () => `Set by ${clean(ban.set_by)} at ${ban.set_at.slice(0, 19).replace("T", " ")} UTC`),
          h("span", { class: "push faint" }, timeOf(ban.set_at)),
        ),
        h("div", { class: "row-line faint" }, stranger(ban.reason, { class: "ellipsis" })),
      ],
    });
    if (api.may("kline")) this.add = button("New ban …", () => setBan(), { class: "add" });
    if (this.add) this.element.querySelector(".side-head").append(this.add);
  }

  async show(changed) {
    if (this.add) this.add.hidden = Boolean(view.now.at);
    await super.show(changed);
  }

  async load(key, at, signal) {
    const page = await api.get("admin/moment/bans", { at, match: key.toLowerCase(), limit: 1000 }, signal);
    return page.items.find((ban) => banKey(ban) === key) ?? null;
  }

  draw(ban, key) {
    if (!ban) return [heading(stranger(key)), h("p", { class: "empty" }, "There was no such ban at this moment.")];
    return [
      heading(
        [h("span", { class: "tag oper" }, clean(ban.kind)), " ", mono(ban.mask)],
        api.may(`un${ban.kind}`) && !view.now.at ? button("Lift …", () => liftBan(ban)) : null,
      ),
      facts([
        ["Reason", stranger(ban.reason)],
        ["Set by", stranger(ban.set_by)],
        ["When", timeOf(ban.set_at, true)],
        ["Ends", ban.expires ? timeOf(ban.expires) : "never"],
      ]),
    ];
  }
}
