import { $, h, say } from "../base/dom.js";
import { onLanguage, t } from "../base/i18n.js";

const SIDES_PX = [512, 768, 1024, 1536, 2048, 3072, 4096, 8192];
const FORMATS = ["auto", "jpeg", "png", "webp"];
const STORED = "animegan.options";
const FIELDS = ["max-side", "format", "detail", "mode", "quality", "strength"];
const TICKS = ["fast", "photo-color"];

/** @type {any} what the chosen style can do */
let able;
let follow = () => {};
/** @type {() => void} */
let changed = () => {};

/** Calls `listener` after each change of an option. */
export const onOptions = (listener) => { changed = listener; };

/** @param {any} limits the server's own */
export function openOptions(limits) {
  const side = $("max-side");
  const format = $("format");
  const detail = $("detail");
  const sides = [...new Set([...SIDES_PX.filter((px) => px <= limits.max_side_ceiling_px), limits.max_side_px])].sort((a, b) => a - b);
  $("quality").value = limits.quality;
  follow = () => {
    detail.disabled = !able?.details.length;
    $("fast").disabled = !able?.fast;
    $("quality").disabled = format.value === "png" || isFast();
    say($("quality-value"), isFast() ? "" : $("quality").value);
    say($("strength-value"), t("percent", { n: $("strength").value }));
  };
  onLanguage(() => {
    fill(side, limits.max_side_px, sides.map((px) => [px, `${px} px`]));
    fill(detail, "auto", Object.entries(t("details")));
    fill($("mode"), "auto", Object.entries(t("modes")));
    fill(format, limits.format, FORMATS.map((id) => [id, id === "auto" ? t("auto") : id.toUpperCase()]));
    follow();
  });
  recall();
  follow();
  for (const id of [...FIELDS, ...TICKS]) {
    $(id).addEventListener("input", () => {
      follow();
      keep();
      changed();
    });
  }
}

function keep() {
  const values = Object.fromEntries([...FIELDS.map((id) => [id, $(id).value]), ...TICKS.map((id) => [id, $(id).checked])]);
  try {
    localStorage.setItem(STORED, JSON.stringify(values));
  } catch {
    // then they last until the page is closed
  }
}

function recall() {
  let values = {};
  try {
    values = JSON.parse(localStorage.getItem(STORED) ?? "{}");
  } catch {
    // the server's own, then
  }
  for (const id of FIELDS) {
    const before = $(id).value;
    if (typeof values[id] === "string") $(id).value = values[id];
    if (!$(id).value) $(id).value = before; // a size that this server doesn't have
  }
  for (const id of TICKS) $(id).checked = values[id] === true;
}

function fill(select, standard, choices) {
  const value = select.value || String(standard);
  select.replaceChildren(...choices.map(([id, text]) => h("option", { value: String(id) }, text)));
  select.value = value;
}

/** Options that a style has not rest, and come back with one that has them. */
export function fitOptions(style) {
  able = style;
  follow();
}

const isFast = () => $("fast").checked && !$("fast").disabled;

export const chosenSide = () => Number($("max-side").value);

/** As form fields of a job. A panorama has as many pixels as a square of that side, instead of that side. */
export const chosenOptions = () => ({
  max_side: $("max-side").value,
  max_pixels: String(chosenSide() ** 2),
  format: $("format").value,
  quality: isFast() ? "fast" : $("quality").value,
  ...(!$("detail").disabled && { detail: $("detail").value }),
  mode: $("mode").value,
  strength: String($("strength").valueAsNumber / 100),
  color: $("photo-color").checked ? "photo" : "style",
});

/** What a field of a job is called, with its value. */
export function nameOption(name, value) {
  if (name === "max_side") return `${value} px`;
  if (name === "format") return value === "auto" ? t("autoFormat") : value.toUpperCase();
  if (name === "quality") return value === "fast" ? t("fastOf") : t("qualityOf", { value });
  if (name === "detail") return t("detailOf")[value];
  if (name === "mode") return t("modeOf")[value];
  if (name === "strength") return t("strengthOf", { percent: Math.round(100 * value) });
  return t("colorOf")[value];
}
