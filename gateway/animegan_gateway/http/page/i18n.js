import { texts } from "./texts.js";

const STORED = "animegan.language";

/** @type {Set<() => void>} */
const listeners = new Set();

let language = stored() ?? (navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en");

/** @returns {"en" | "zh" | null} */
function stored() {
  try {
    const value = localStorage.getItem(STORED);
    return value === "en" || value === "zh" ? value : null;
  } catch {
    return null; // storage is blocked in some private windows
  }
}

/** The language as Accept-Language and Intl want it. */
export const locale = () => language === "zh" ? "zh-CN" : "en";

/** @param {string} key @param {object} [values] @returns {string} */
export function t(key, values) {
  const text = texts[language][key];
  return typeof text === "function" ? text(values ?? {}) : text;
}

/** What went wrong, in the page's language where it has words for it. @param {{ code: string, detail: string, kind?: string }} problem */
export const explain = (problem) =>
  texts[language].kinds[problem.kind ?? ""] ?? texts[language].problems[problem.code] ?? problem.detail;

/** Calls `listener` now and after every change of the language. */
export function onLanguage(listener) {
  listeners.add(listener);
  listener();
}

export function switchLanguage() {
  language = language === "zh" ? "en" : "zh";
  try {
    localStorage.setItem(STORED, language);
  } catch {
    // then it lasts until the page is closed
  }
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
