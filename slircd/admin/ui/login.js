// Logging in.  The view stays in the address, so whoever logs in is where the link or the ended session was.

import { Away, Refused, api, words } from "./api.js";
import { h, replace } from "./dom.js";

/** Show the form; resolves when somebody is logged in. */
export function logIn(place, reason) {
  return new Promise((resolve) => {
    const name = h("input", { id: "login-name", name: "username", autocomplete: "username", required: true, spellcheck: "false", autocapitalize: "none" });
    const password = h("input", { id: "login-password", name: "password", type: "password", autocomplete: "current-password", required: true });
    const trouble = h("p", { class: "trouble", role: "alert" }, reason);
    const submit = h("button", { type: "submit", class: "primary" }, "Log in");
    const form = h(
      "form",
      {
        class: "login",
        "aria-labelledby": "login-title",
        onsubmit: async (event) => {
          event.preventDefault();
          submit.disabled = true;
          trouble.textContent = "";
          try {
            await api.logIn(name.value, password.value);
            resolve();
          } catch (error) {
            if (error instanceof Refused && error.status === 401) trouble.textContent = "Wrong user or password.";
            else if (error instanceof Away) trouble.textContent = "The server does not answer. Try again in a moment.";
            else trouble.textContent = words(error);
            password.value = "";
            password.focus();
          } finally {
            submit.disabled = false;
          }
        },
      },
      h("h2", { id: "login-title" }, "Log in"),
      h("p", { class: "faint" }, "With a user of the admin API. The server's first start has shown a password for ", h("span", { class: "mono" }, "admin"), "."),
      h("div", { class: "field-row" }, h("label", { for: "login-name" }, "User"), name),
      h("div", { class: "field-row" }, h("label", { for: "login-password" }, "Password"), password),
      trouble,
      submit,
    );
    replace(place, form);
    name.focus();
  });
}
