// Making elements.  Text from the log only ever becomes text nodes: nothing in this page parses HTML.

const SVG = "http://www.w3.org/2000/svg";

/** An element: attributes, `on…` functions, `class`, `data`; children are nodes, texts, arrays, or nothing. */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name === "value" && "value" in element) element.value = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  append(element, children);
  return element;
}

/** Add children: nodes, texts, arrays of them; null and false are nothing. */
export function append(element, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) append(element, child);
    else element.append(child instanceof Node ? child : String(child));
  }
}

/** Put other children in place of those that an element has. */
export function replace(element, ...children) {
  element.replaceChildren();
  append(element, children);
}

/** A button. */
export function button(text, onclick, attributes = {}) {
  return h("button", { type: "button", onclick, ...attributes }, text);
}

/** Tell people who listen, not look. */
export function say(text) {
  const place = document.getElementById("said");
  if (place.textContent === text) place.textContent = "";
  place.textContent = text;
}

/** Call `action` at most once in `ms`, with the newest arguments, first call at once. */
export function throttled(action, ms) {
  let waiting = null;
  let last = -Infinity;
  let newest;
  const run = () => {
    waiting = null;
    last = performance.now();
    action(...newest);
  };
  const call = (...given) => {
    newest = given;
    if (waiting !== null) return;
    const left = last + ms - performance.now();
    if (left <= 0) run();
    else waiting = setTimeout(run, left);
  };
  call.cancel = () => {
    clearTimeout(waiting);
    waiting = null;
  };
  return call;
}

/** Call `action` when it was not asked for during `ms`. */
export function debounced(action, ms) {
  let waiting = null;
  return (...given) => {
    clearTimeout(waiting);
    waiting = setTimeout(() => action(...given), ms);
  };
}

/** Whether the reader wants little to move. */
export const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
