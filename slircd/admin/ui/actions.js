// What admins may change: each with a form, what it will do, and a confirmation.

import { api, words } from "./api.js";
import { append, button, h, replace, say } from "./dom.js";
import { clean, mono, stranger, when } from "./text.js";

/**
 * Ask in a dialog.  `fields` are [name, label, value, options]; `preview(values)` may show what will happen; `act(values)`
 * does it.  Resolves to true when it was done.
 */
export function ask({ title, about = [], fields = [], verb, danger = false, preview = null, act, done }) {
  return new Promise((resolve) => {
    const before = document.activeElement;
    const inputs = new Map();
    const trouble = h("p", { class: "trouble", role: "alert" });
    const shown = h("div", { class: "preview", "aria-live": "polite" });
    const confirm = h("button", { type: "submit", class: danger ? "danger" : "primary" }, verb);
    const cancel = button("Cancel", () => dialog.close());
    const form = h("form", { method: "dialog" });
    const dialog = h("dialog", { class: "dialog", "aria-labelledby": "dialog-title" }, form);
    append(form, [
      h("h2", { id: "dialog-title" }, title),
      about,
      fields.map(([name, label, value, options = {}]) => {
        const input = options.choices
          ? h("select", { name, id: `field-${name}` }, options.choices.map(([key, text]) => h("option", { value: key }, text)))
          : h("input", { name, id: `field-${name}`, type: "text", value, required: options.required, maxlength: 390, autocomplete: "off", spellcheck: "false", placeholder: options.placeholder, list: options.suggestions ? `known-${name}` : null });
        inputs.set(name, input);
        const known = options.suggestions ? h("datalist", { id: `known-${name}` }, options.suggestions.map((each) => h("option", { value: each }))) : null;
        return h("div", { class: "field-row" }, h("label", { for: `field-${name}` }, label), input, known);
      }),
      shown,
      trouble,
      h("div", { class: "dialog-buttons" }, cancel, confirm),
    ]);
    const values = () => Object.fromEntries([...inputs].map(([name, input]) => [name, input.value.trim()]));
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      trouble.textContent = "";
      confirm.disabled = true;
      try {
        await act(values());
        dialog.close("done");
        say(done);
      } catch (error) {
        trouble.textContent = words(error);
      } finally {
        confirm.disabled = false;
      }
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      before?.focus?.();
      resolve(dialog.returnValue === "done");
    });
    document.body.append(dialog);
    dialog.showModal();
    (inputs.values().next().value ?? cancel).focus();
    if (preview) {
      confirm.disabled = true;
      replace(shown, h("p", { class: "faint" }, "Looking what that would change …"));
      preview().then(
        ({ content, possible }) => {
          replace(shown, content);
          confirm.disabled = !possible;
          if (possible) confirm.focus();
        },
        (error) => {
          replace(shown);
          trouble.textContent = words(error);
        },
      );
    }
  });
}

const action = (name, document) => api.post(`admin/actions/${name}`, document);
const reason = ["reason", "Reason", "", {}];

/** Give a channel back as it was: shows what differs, then asks. */
export function restore(channel, at) {
  return ask({
    title: ["Restore ", stranger(channel)],
    about: [h("p", {}, "Topic, modes, lists and access become again what they were at ", h("strong", {}, `${when(at, true)} UTC`), ". Members stay.")],
    verb: "Restore",
    danger: true,
    preview: async () => {
      const answer = await action("restore", { channel, at, dry_run: true });
      const { changes } = answer;
      return {
        possible: changes.length > 0,
        content: changes.length
          ? [h("p", {}, "This will happen:"), h("ul", { class: "will-happen" }, changes.map((change) => h("li", {}, stranger(change))))]
          : h("p", {}, "Nothing differs: the channel is as it was then."),
      };
    },
    act: () => action("restore", { channel, at, dry_run: false }),
    done: `${clean(channel)} is restored`,
  });
}

/** Set a topic, or remove it. */
export function setTopic(channel) {
  return ask({
    title: ["Topic of ", stranger(channel.name)],
    about: [h("p", {}, h("span", { class: "faint" }, "Now: "), channel.topic ? stranger(channel.topic.text) : "none")],
    fields: [["topic", "New topic; empty removes it", channel.topic?.text ?? "", {}]],
    verb: "Set the topic",
    danger: true,
    act: ({ topic }) => action("topic", { channel: channel.name, topic }),
    done: `The topic of ${clean(channel.name)} is set`,
  });
}

/** Change modes, ranks and lists. */
export function changeModes(channel) {
  const now = [...channel.modes, ...Object.keys(channel.params)].join("");
  return ask({
    title: ["Modes of ", stranger(channel.name)],
    about: [h("p", {}, h("span", { class: "faint" }, "Now: "), h("span", { class: "mono" }, now ? `+${now}` : "none"))],
    fields: [["modes", "Changes", "", { required: true, placeholder: "+mo-b nick *!*@host.example" }]],
    verb: "Change",
    danger: true,
    act: async ({ modes }) => {
      const { refused } = await action("mode", { channel: channel.name, modes });
      if (refused.length) throw new Error(`Not all of it was done: ${clean(refused.join("; "))}`);
    },
    done: `The modes of ${clean(channel.name)} are changed`,
  });
}

/** Remove a member. */
export function kick(channel) {
  return ask({
    title: ["Kick from ", stranger(channel.name)],
    fields: [["nick", "Nick", "", { required: true, suggestions: channel.members.slice(0, 1000).map((member) => member.nick) }], reason],
    verb: "Kick",
    danger: true,
    act: ({ nick, reason: why }) => action("kick", { channel: channel.name, nick, reason: why }),
    done: `Kicked from ${clean(channel.name)}`,
  });
}

/** Disconnect a user. */
export function killUser(user) {
  return ask({
    title: ["Kill ", stranger(user.nick)],
    about: [h("p", {}, "Disconnects ", mono(`${user.nick}!${user.username}@${user.host}`), ".")],
    fields: [reason],
    verb: "Kill",
    danger: true,
    act: ({ reason: why }) => action("kill", { nick: user.nick, reason: why || "No reason" }),
    done: `${clean(user.nick)} is disconnected`,
  });
}

const KINDS = [
  ["kline", "K-line: user@host of this server's clients"],
  ["gline", "G-line: user@host of the network"],
  ["dline", "D-line: an address or network"],
  ["zline", "Z-line: the same, for the network"],
  ["shun", "Shun: commands are ignored"],
];

/** Ban the host of a user from the network. */
export function banUser(user) {
  return setBan(`*@${user.real_host}`);
}

/** Set a network ban. */
export function setBan(mask = "") {
  return ask({
    title: "New network ban",
    fields: [
      ["kind", "Kind", "", { choices: KINDS }],
      ["mask", "Mask", mask, { required: true, placeholder: "*@host.example" }],
      ["duration", "For how long", "", { placeholder: "1h, 7d; empty: for ever" }],
      ["reason", "Reason", "", { required: true }],
    ],
    verb: "Ban",
    danger: true,
    act: ({ kind, mask: where, duration, reason: why }) =>
      action(kind, { mask: where, reason: why, ...(duration ? { duration } : {}) }),
    done: "The ban is set",
  });
}

/** Lift a network ban. */
export function liftBan(ban) {
  return ask({
    title: ["Lift the ", clean(ban.kind), " on ", mono(ban.mask)],
    about: [h("p", {}, "Set by ", stranger(ban.set_by), ": ", stranger(ban.reason))],
    verb: "Lift",
    danger: true,
    act: () => action(`un${ban.kind}`, { mask: ban.mask }),
    done: "The ban is lifted",
  });
}
