// What is shown, as a file: JSON, CSV, or text.

import { tellPlain } from "./words.js";
import { clean } from "./text.js";

/** Save items under a name with today's kind of file. */
export function save({ name, items }, format) {
  const bodies = { json: () => `${JSON.stringify(items, null, 2)}\n`, csv: () => csv(items), txt: () => text(items) };
  const kinds = { json: "application/json", csv: "text/csv", txt: "text/plain" };
  const blob = new Blob([bodies[format]()], { type: `${kinds[format]};charset=utf-8` });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `slircd-${name.replace(/[^\w.-]+/g, "_")}.${format}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function flat(item) {
  return Object.fromEntries(Object.entries(item).map(([name, value]) => [name, value !== null && typeof value === "object" ? JSON.stringify(value) : (value ?? "")]));
}

function csv(items) {
  const rows = items.map(flat);
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const quote = (value) => {
    const written = String(value);
    // A spreadsheet would run what begins like a formula.
    const safe = /^[=+\-@\t\r]/.test(written) && typeof value !== "number" ? `'${written}` : written;
    return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  return [columns, ...rows.map((row) => columns.map((column) => row[column] ?? ""))].map((row) => row.map(quote).join(",")).join("\r\n") + "\r\n";
}

function text(items) {
  return items
    .map((item) => {
      if (item.event_type) return `${item.timestamp} ${item.event_type} ${tellPlain(item)}`;
      return Object.entries(flat(item)).filter(([, value]) => value !== "").map(([name, value]) => `${name}: ${clean(value)}`).join(" · ");
    })
    .join("\n") + "\n";
}
