import { $, h } from "./dom.js";
import { onLanguage, t } from "./i18n.js";

const SIDES_PX = [512, 768, 1024, 1536, 2048, 3072, 4096, 8192];
const FORMATS = ["auto", "jpeg", "png", "webp"];

/** @type {any} what the chosen style can do */
let able;
let follow = () => {};

/** @param {any} limits the server's own */
export function openOptions(limits) {
  const side = $("max-side");
  const format = $("format");
  const quality = $("quality");
  const sides = [...new Set([...SIDES_PX.filter((px) => px <= limits.max_side_ceiling_px), limits.max_side_px])].sort((a, b) => a - b);
  quality.value = limits.quality;
  const strength = $("strength");
  const detail = $("detail");
  const fast = $("fast");
  follow = () => {
    detail.disabled = !able?.details.length;
    fast.disabled = !able?.fast;
    quality.disabled = format.value === "png" || isFast();
    $("quality-value").textContent = isFast() ? "" : quality.value;
    $("strength-value").textContent = `${strength.value} %`;
  };
  quality.oninput = strength.oninput = format.onchange = fast.onchange = follow;
  onLanguage(() => {
    fill(side, limits.max_side_px, sides.map((px) => [px, `${px} px`]));
    fill(detail, "auto", Object.entries(t("details")));
    fill(format, limits.format, FORMATS.map((id) => [id, id === "auto" ? t("auto") : id.toUpperCase()]));
    follow();
  });
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

/** As form fields of a job. */
export const chosenOptions = () => ({
  max_side: $("max-side").value,
  format: $("format").value,
  quality: isFast() ? "fast" : $("quality").value,
  ...(!$("detail").disabled && { detail: $("detail").value }),
  strength: String($("strength").valueAsNumber / 100),
  color: $("photo-color").checked ? "photo" : "style",
});
