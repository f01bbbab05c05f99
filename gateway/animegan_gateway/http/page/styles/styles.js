/** The styles to choose from, each shown by a picture; by a part of the user's own photo once there is one. */

import { at, call, Problem, stylize } from "../server/api.js";
import { steadily } from "../server/connection.js";
import { $, h, say, sleep } from "../base/dom.js";
import { t } from "../base/i18n.js";
import { crop } from "../photos/photo.js";

const MOST_TRIED = 6;
const TRIED_PX = { width: 320, height: 240 }; // a part of the drawing, as large as a tile on a fine screen
const SETTLE_MS = 700; // photos often come in several goes
const QUIET_MS = 4000; // until a busy server is asked again
const MOST_QUIET_MS = 60_000;
const THUMBNAIL_RETRY_MS = [2000, 3000, 5000, 8000, 15_000, 30_000]; // then as the last
const STORED = "animegan.style";

/** @typedef {{ photo: import("../photos/photo.js").Photo, side: number, detail: string }} Subject what the styles are tried on */

/** @type {any[]} */
let styles = [];
/** @type {string} */
let selected = stored();
/** @type {Map<string, string>} */
const tried = new Map();
/** @type {Map<string, { promise: Promise<string>, resolve: (source: string) => void }>} */
const samples = new Map();
let subject = "";
/** @type {Promise<{ blob: Blob, address: string }> | null} */
let part = null;
/** @type {AbortController | null} */
let trial = null;
let refused = false;

function stored() {
  try {
    return localStorage.getItem(STORED) ?? "";
  } catch {
    return "";
  }
}

export const selectedStyle = () => selected;
export const styleOf = (id) => styles.find((style) => style.id === id);
export const installedStyles = () => styles.filter((style) => style.installed);

function sample(id) {
  if (!samples.has(id)) {
    let resolve;
    samples.set(id, { promise: new Promise((done) => { resolve = done; }), resolve });
  }
  return samples.get(id);
}

/** The address of the server's sample in that style, once it is drawn. @param {string} id */
export const sampleOf = (id) => sample(id).promise;

/** In the language of the page; again after it was switched. */
export async function loadStyles() {
  const { body } = await steadily(() => call("v1/styles"));
  styles = body.styles;
  const installed = installedStyles();
  if (!installed.some((style) => style.id === selected)) {
    selected = (installed.find((style) => style.id === body.default) ?? installed[0])?.id;
  }
  render();
}

function render() {
  const installed = installedStyles();
  const missing = styles.filter((style) => !style.installed);
  const focused = document.activeElement?.id;
  $("styles").replaceChildren(...installed.map(tile));
  if (focused?.startsWith("style-")) $(focused)?.focus();
  renderAbout();
  const others = $("others");
  others.hidden = !missing.length;
  others.querySelector("summary").textContent = t("others", { n: missing.length });
  others.querySelector("ul").replaceChildren(...missing.map(missingStyle));
}

function missingStyle(style) {
  return h("li", {},
    h("p", {}, h("strong", {}, style.title), ...mark(style)),
    ...(style.about ? [h("p", {}, style.about)] : []),
    h("p", {}, suitsOf(style), t("licence"), t("gap"), licenceLink(style), " ",
      h("a", { href: style.source.split(" ")[0], target: "_blank", rel: "noreferrer" }, t("source"))),
    h("p", {}, t("installWith"), t("gap"), h("code", {}, style.install)));
}

function suitsOf(style) {
  const kinds = style.suits.map((kind) => t(kind)).filter(Boolean);
  return kinds.length ? `${t("suits", { kinds })}${t("gap")}` : "";
}

/** The mark of a style that is not for commercial use, wherever its pictures are shown. */
export const mark = (style) => style?.noncommercial ? [" ", h("span", { className: "nc" }, t("nonCommercial"))] : [];

export function licenceLink(style, licence = style.license) {
  const text = licence.replace("LicenseRef-", "");
  return style ? h("a", { href: style.license_url, target: "_blank", rel: "noreferrer" }, text) : text;
}

function tile(style) {
  const input = h("input", {
    type: "radio", name: "style", value: style.id, id: `style-${style.id}`, checked: style.id === selected,
    "data-testid": `style-${style.id}`,
    onchange: () => {
      selected = style.id;
      try {
        localStorage.setItem(STORED, selected);
      } catch {
        // then it lasts until the page is closed
      }
      renderAbout();
    },
  });
  const image = picture(style);
  const cel = h("span", { className: "cel" }, image);
  if (tried.has(style.id)) show(image, style);
  return h("label", { className: "tile" }, input, cel, h("span", { className: "name" }, style.title), ...mark(style));
}

function picture(style) {
  const image = h("img", { alt: "", width: 160, height: 120, className: "blank" });
  let attempt = 0;
  image.onload = () => {
    image.classList.remove("blank");
    if (!tried.has(style.id)) sample(style.id).resolve(image.src);
  };
  image.onerror = async () => {
    await sleep(THUMBNAIL_RETRY_MS[Math.min(attempt, THUMBNAIL_RETRY_MS.length - 1)]);
    attempt += 1;
    if (image.isConnected && !tried.has(style.id)) image.src = at(style.thumbnail);
  };
  if (style.thumbnail) image.src = at(style.thumbnail);
  return image;
}

function renderAbout() {
  const about = $("style-about");
  const style = styleOf(selected);
  if (!style) return say(about, t("noStyles"));
  about.replaceChildren(
    ...(tried.size ? [t("live"), t("gap")] : []),
    suitsOf(style), t("licence"), t("gap"), licenceLink(style),
    ...(style.noncommercial ? [h("strong", {}, t("nonCommercialAbout"))] : []),
  );
}

/**
 * Draws a part of the photo in every style, as large as it will be drawn, one after the other. Whatever goes wrong, the
 * server's own samples stay: this is a courtesy that must never stand in the way of a picture that was asked for.
 * @param {Subject | null} on
 * @param {boolean} busy pictures that were asked for are on their way: later, then
 */
export async function tryStyles(on, busy) {
  const key = on ? `${on.photo.id} ${on.side} ${on.detail}` : "";
  if (key !== subject) {
    stopTrying();
    forget();
    subject = key;
    refused = false;
  }
  const installed = installedStyles();
  if (busy || trial || refused || !on?.photo.size || installed.length > MOST_TRIED) return;
  const { signal } = trial = new AbortController();
  await sleep(SETTLE_MS);
  const first = installed.filter((style) => style.id === selected);
  let pause = QUIET_MS;
  for (const style of new Set([...first, ...installed])) {
    while (!signal.aborted && !refused && !tried.has(style.id)) {
      const later = await tryOne(style, on, signal);
      if (signal.aborted || refused || !later) continue;
      await sleep(Math.max(later, pause));
      pause = Math.min(2 * pause, MOST_QUIET_MS);
    }
  }
  if (!signal.aborted) trial = null;
}

function partOf({ photo, side }) {
  part ??= crop(photo, side, TRIED_PX).then((blob) => ({ blob, address: URL.createObjectURL(blob) }));
  return part;
}

/** Draws it, by the small network where the style has one. Returns in how many ms to ask a busy server again, or 0. */
async function tryOne(style, on, signal) {
  try {
    const { blob } = await partOf(on);
    const form = new FormData();
    form.set("image", blob, "try.jpg");
    form.set("style", style.id);
    form.set("format", "jpeg");
    if (style.details.length) form.set("detail", on.detail);
    if (style.fast) form.set("quality", "fast");
    // Nobody's picture is to wait for a try, and what would be refused is not sent.
    if (signal.aborted || (await call("v1/queue")).body.waiting) return QUIET_MS;
    if (signal.aborted) return 0;
    const { id, picture } = await stylize(form, signal);
    if (id) call(`v1/jobs/${id}`, { method: "DELETE" }).catch(() => {}); // nothing is kept of a mere try
    if (!picture) return QUIET_MS;
    if (signal.aborted) return 0;
    tried.set(style.id, URL.createObjectURL(picture));
  } catch (error) {
    if (error instanceof Problem && error.status === 429) return error.retryAfterS * 1000;
    refused = !signal.aborted && (error instanceof Problem || error instanceof DOMException);
    return QUIET_MS;
  }
  const image = $(`style-${style.id}`)?.parentElement.querySelector("img");
  if (image) show(image, style);
  renderAbout();
  return 0;
}

/** The try on its part of the photo, which shows through as the strength has it. */
async function show(image, style) {
  image.src = tried.get(style.id);
  const { address } = await part;
  image.parentElement.style.backgroundImage = `url("${address}")`;
}

/** How strong the drawing is, from 0 to 1, on the tries too. */
export const showStrength = (strength) => $("styles").style.setProperty("--strength", String(strength));

/** Room for what was really asked for. */
export function stopTrying() {
  trial?.abort();
  trial = null;
}

function forget() {
  for (const address of tried.values()) URL.revokeObjectURL(address);
  part?.then(({ address }) => URL.revokeObjectURL(address), () => {});
  part = null;
  const had = tried.size;
  tried.clear();
  if (had) render();
}
