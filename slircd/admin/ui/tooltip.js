// One tooltip for the page: on hover and on focus, gone with Escape.

import { replace } from "./dom.js";

let shownFor = null;

const place = () => document.getElementById("tooltip");

/** Give an element a tooltip: `content` is called for its children when it is shown. */
export function explain(element, content) {
  element.tabIndex = element.tabIndex >= 0 ? element.tabIndex : 0;
  element.classList.add("explained");
  const show = () => open(element, content);
  element.addEventListener("pointerenter", show);
  element.addEventListener("focus", show);
  element.addEventListener("pointerleave", () => shownFor === element && close());
  element.addEventListener("blur", () => shownFor === element && close());
  return element;
}

function open(element, content) {
  const tooltip = place();
  replace(tooltip, content());
  tooltip.hidden = false;
  shownFor?.removeAttribute("aria-describedby");
  shownFor = element;
  element.setAttribute("aria-describedby", "tooltip");
  put();
}

function put() {
  const tooltip = place();
  const box = shownFor.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = tooltip;
  const left = Math.max(8, Math.min(box.left, innerWidth - width - 8));
  const above = box.bottom + height + 10 > innerHeight && box.top > height + 10;
  tooltip.style.left = `${left}px`;
  tooltip.style.top = `${above ? box.top - height - 6 : box.bottom + 6}px`;
}

function close() {
  place().hidden = true;
  shownFor?.removeAttribute("aria-describedby");
  shownFor = null;
}

addEventListener("keydown", (event) => {
  if (event.key === "Escape" && shownFor) {
    close();
    event.stopPropagation();
  }
}, { capture: true });
// What explained itself may be replaced while its tooltip is open; what takes its place explains itself anew.
new MutationObserver(() => shownFor && !shownFor.isConnected && close()).observe(document.body, { childList: true, subtree: true });
addEventListener("scroll", () => shownFor && put(), { capture: true, passive: true });
