// Rows of events, as the feed, stories and searches show them.

import { h } from "./dom.js";
import { familyOf } from "./families.js";
import { clean, when } from "./text.js";
import { view } from "./view.js";
import { tell } from "./words.js";

/** One event: time (which leads to that moment), type, words. */
export function eventRow(event, { marked = false } = {}) {
  const family = familyOf(event.event_type);
  return h(
    "li",
    { class: marked ? "event marked" : "event", data: { id: event.id } },
    h(
      "a",
      {
        class: "mono when",
        href: view.link({ at: event.timestamp }),
        title: `Show the server at ${event.timestamp} (event ${event.id})`,
      },
      when(event.timestamp, true),
    ),
    h("span", { class: `type f-${family}`, title: `event ${event.id}` }, h("span", { class: `swatch f-${family}` }), clean(event.event_type)),
    h("span", { class: "told" }, tell(event)),
  );
}
