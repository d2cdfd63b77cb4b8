// The token that a server may ask for: kept in this tab only.

import { element, setText } from "./teach_elements.js";
import { say } from "./words.js";

const KEPT = "mobilenetv2.token";

/** Return the token that was kept in this tab; '' if there is none. */
export function keptToken() {
  try {
    return sessionStorage.getItem(KEPT) ?? "";
  } catch {
    return ""; // the browser keeps nothing for this page
  }
}

/** @param {string} token */
function keepToken(token) {
  try {
    sessionStorage.setItem(KEPT, token);
  } catch {
    // The browser keeps nothing for this page: the token ends with it.
  }
}

/**
 * Return a form that asks for a token.
 * @param {boolean} wrong true if a token was refused
 * @param {(token: string) => void} enter
 */
export function tokenForm(wrong, enter) {
  const input = element("input", {
    type: "password",
    id: "token",
    required: true,
    autocomplete: "off",
    spellcheck: false,
  });
  const hint = element("p", { className: "hint", id: "token-hint" }, say("token.hint"));
  const told = element("p", { role: "alert", className: "bad" });
  const send = element("button", { type: "submit", className: "main" }, say("token.send"));
  input.setAttribute("aria-describedby", hint.id);
  const form = element(
    "form",
    { className: "token notice" },
    element("h2", {}, say("token.title")),
    element("label", { htmlFor: input.id }, say("token.label")),
    element("div", { className: "row" }, input, send),
    hint,
    told,
  );
  if (wrong) setText(told, say("token.wrong"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    keepToken(input.value.trim());
    enter(input.value.trim());
  });
  return { form, focus: () => input.focus() };
}
