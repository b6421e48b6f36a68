// Text of strangers, times and numbers, made readable.

import { h } from "./dom.js";

const FORMATTING = /\x03(?:\d{1,2}(?:,\d{1,2})?)?|\x04(?:[0-9a-fA-F]{6}(?:,[0-9a-fA-F]{6})?)?|[\x02\x0f\x11\x16\x1d\x1e\x1f]/g;
// eslint-disable-next-line no-control-regex
const CONTROLS = /[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

/** Without IRC's formatting; other characters that one cannot see, or that turn text round, become visible. */
export function clean(text) {
  return String(text ?? "")
    .replace(FORMATTING, "")
    .replace(CONTROLS, (char) => {
      const code = char.codePointAt(0);
      return code < 0x20 ? String.fromCodePoint(0x2400 + code) : "\ufffd";
    });
}

/** Text of a stranger, which cannot turn round what stands beside it. */
export function stranger(text, attributes = {}) {
  return h("bdi", attributes, clean(text));
}

/** The same in the typeface for masks. */
export function mono(text) {
  return stranger(text, { class: "mono" });
}

/** A timestamp of the log in milliseconds. */
export function toMs(timestamp) {
  return Date.parse(timestamp.slice(0, 23) + "Z");
}

/** Milliseconds as a timestamp of the log. */
export function toTimestamp(ms) {
  const text = new Date(ms).toISOString();
  return text.slice(0, 23) + "000Z";
}

/** Date and time for people, UTC; `precise` with fractions of a second. */
export function when(timestamp, precise = false) {
  if (!timestamp) return "";
  return `${timestamp.slice(0, 10)} ${timestamp.slice(11, precise ? 23 : 19)}`;
}

/** A <time> element, whose title has the whole timestamp and the local time. */
export function timeOf(timestamp, precise = false) {
  if (!timestamp) return h("span", {}, "–");
  const local = new Date(toMs(timestamp)).toLocaleString();
  return h("time", { datetime: timestamp, title: `${timestamp} (${local} here)` }, when(timestamp, precise));
}

/** A number with thousands separated. */
export function count(number) {
  return number.toLocaleString("en");
}

/** "1 event", "2 events". */
export function plural(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

/** A span of time in words: 90 seconds are "1 min 30 s". */
export function duration(seconds) {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  const parts = [];
  let left = Math.round(seconds);
  for (const [name, size] of [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]]) {
    if (left >= size && parts.length < 2) {
      parts.push(`${Math.floor(left / size)} ${name}`);
      left %= size;
    }
  }
  return parts.join(" ");
}

/** What people write as a time, as the API takes it; null if it is none. */
export function parseMoment(text) {
  const given = text.trim();
  if (/^-\d{1,9}[smhdw]$/.test(given)) return given;
  const match = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?))?(Z|[+-]\d\d:?\d\d)?$/.exec(given);
  if (!match) return null;
  if (match[3] && match[3] !== "Z") {
    const ms = Date.parse(`${match[1]}T${match[2] ?? "00:00"}${match[3]}`);
    return Number.isNaN(ms) ? null : toTimestamp(ms);
  }
  let time = match[2] ?? "00:00:00";
  if (time.length === 5) time += ":00";
  const [whole, fraction = ""] = time.split(".");
  const timestamp = `${match[1]}T${whole}.${fraction.padEnd(6, "0")}Z`;
  return Number.isNaN(toMs(timestamp)) ? null : timestamp;
}
