/** The language of the page: what was chosen here before, else the browser's. */

const STORED = "animegan.language";

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

/** @returns {"en" | "zh"} */
export const languageNow = () => language;

/** The language as Accept-Language and Intl want it. */
export const locale = () => language === "zh" ? "zh-CN" : "en";

export function chooseOther() {
  language = language === "zh" ? "en" : "zh";
  try {
    localStorage.setItem(STORED, language);
  } catch {
    // then it lasts until the page is closed
  }
}
