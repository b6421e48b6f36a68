// The families of events: their names, and which type belongs to which (the server says).

export const TITLES = {
  user: "Users",
  channel: "Channels",
  state: "Topics, modes, bans",
  message: "Messages",
  services: "Accounts, services",
  oper: "Operators",
  server: "Server",
  other: "Plugins, API",
};

let byType = new Map();
let known = {};

/** Take the server's catalogue. */
export function learn(families) {
  known = families;
  byType = new Map(Object.entries(families).flatMap(([name, types]) => types.map((type) => [type, name])));
}

/** The family of a type of event. */
export const familyOf = (type) => byType.get(type) ?? "other";

/** Families with their types. */
export const families = () => known;
