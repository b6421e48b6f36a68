// Runs before the page is drawn, so that nobody who chose the dark theme sees a white flash.
(() => {
  "use strict";
  try {
    const chosen = localStorage.getItem("slircd.theme");
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  } catch {
    // Storage can be forbidden; then the system's preference counts.
  }
})();
