import { chooseOther, languageNow, locale } from "./language.js";
import { texts } from "./texts.js";

/** @type {Set<() => void>} */
const listeners = new Set();

/** @param {string} key @param {object} [values] @returns {string} */
export function t(key, values) {
  const text = texts[languageNow()][key];
  return typeof text === "function" ? text(values ?? {}) : text;
}

/** What went wrong, in the page's language where it has words for it. @param {any} problem as the server sends it, or an `api.Problem` of it */
export function explain(problem) {
  const { kinds, problems } = texts[languageNow()];
  const text = kinds[problem.kind ?? ""] ?? problems[problem.code];
  return (typeof text === "function" ? text(problem.members ?? problem) : text) ?? problem.detail;
}

/** Calls `listener` now and after every change of the language. */
export function onLanguage(listener) {
  listeners.add(listener);
  listener();
}

export function switchLanguage() {
  chooseOther();
  for (const listener of listeners) listener();
}

/** Writes the texts of the HTML itself. */
export function translatePage() {
  document.documentElement.lang = locale();
  document.title = t("title");
  for (const element of document.querySelectorAll("[data-i18n]")) {
    element.textContent = t(element.dataset.i18n);
  }
}
