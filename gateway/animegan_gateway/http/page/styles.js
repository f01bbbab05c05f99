/** The styles to choose from, each shown by a picture; on the user's own photo once there is one. */

import { at, call, Problem, stylize } from "./api.js";
import { steadily } from "./connection.js";
import { $, h, say, sleep } from "./dom.js";
import { t } from "./i18n.js";

const MOST_TRIED = 6;
const SETTLE_MS = 700; // photos often come in several goes
const QUIET_MS = 4000; // until a busy server is asked again
const MOST_QUIET_MS = 60_000;
const THUMBNAIL_RETRY_MS = [2000, 3000, 5000, 8000, 15_000, 30_000]; // then as the last

/** @type {any[]} */
let styles = [];
/** @type {string} */
let selected;
/** @type {Map<string, string>} */
const tried = new Map();
/** @type {import("./photos.js").Photo | undefined} */
let subject;
/** @type {AbortController | null} */
let trial = null;
let refused = false;

export const selectedStyle = () => selected;
export const styleOf = (id) => styles.find((style) => style.id === id);

/** In the language of the page; again after it was switched. */
export async function loadStyles() {
  const { body } = await steadily(() => call("v1/styles"));
  styles = body.styles;
  const installed = styles.filter((style) => style.installed);
  if (!installed.some((style) => style.id === selected)) {
    selected = (installed.find((style) => style.id === body.default) ?? installed[0])?.id;
  }
  render();
}

function render() {
  const installed = styles.filter((style) => style.installed);
  const missing = styles.filter((style) => !style.installed);
  const focused = document.activeElement?.id;
  $("styles").replaceChildren(...installed.map(tile));
  if (focused?.startsWith("style-")) $(focused)?.focus();
  renderAbout();
  const others = $("others");
  others.hidden = !missing.length;
  others.querySelector("summary").textContent = t("others", { n: missing.length });
  others.querySelector("ul").replaceChildren(...missing.map((style) => h("li", {}, style.title, ...mark(style))));
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
      renderAbout();
    },
  });
  return h("label", { className: "tile" }, input, h("span", { className: "cel" }, picture(style)), h("span", { className: "name" }, style.title), ...mark(style));
}

function picture(style) {
  const image = h("img", { alt: "", width: 160, height: 120, className: "blank" });
  let attempt = 0;
  image.onload = () => image.classList.remove("blank");
  image.onerror = async () => {
    await sleep(THUMBNAIL_RETRY_MS[Math.min(attempt, THUMBNAIL_RETRY_MS.length - 1)]);
    attempt += 1;
    if (image.isConnected && !tried.has(style.id)) image.src = at(style.thumbnail);
  };
  const source = tried.get(style.id) ?? style.thumbnail;
  if (source) image.src = at(source);
  return image;
}

function renderAbout() {
  const about = $("style-about");
  const style = styleOf(selected);
  if (!style) return say(about, t("noStyles"));
  const kinds = style.suits.map((kind) => t(kind)).filter(Boolean);
  about.replaceChildren(
    ...(tried.size ? [t("live"), t("gap")] : []),
    ...(kinds.length ? [t("suits", { kinds }), t("gap")] : []),
    t("licence"), t("gap"), licenceLink(style),
    ...(style.noncommercial ? [h("strong", {}, t("nonCommercialAbout"))] : []),
  );
}

/**
 * Draws a small version of the photo in every style, one after the other. Whatever goes wrong, the server's own
 * thumbnails stay: this is a courtesy that must never stand in the way of a picture that was asked for.
 * @param {import("./photos.js").Photo | undefined} photo
 * @param {boolean} busy pictures that were asked for are on their way: later, then
 */
export async function tryStyles(photo, busy) {
  if (photo !== subject) {
    stopTrying();
    forget();
    subject = photo;
    refused = false;
  }
  const installed = styles.filter((style) => style.installed);
  if (busy || trial || refused || !photo?.small || installed.length > MOST_TRIED) return;
  const { signal } = trial = new AbortController();
  await sleep(SETTLE_MS);
  const first = installed.filter((style) => style.id === selected);
  let pause = QUIET_MS;
  for (const style of new Set([...first, ...installed])) {
    while (!signal.aborted && !refused && !tried.has(style.id)) {
      const later = await tryOne(style, photo, signal);
      if (signal.aborted || refused || !later) continue;
      await sleep(Math.max(later, pause));
      pause = Math.min(2 * pause, MOST_QUIET_MS);
    }
  }
  if (!signal.aborted) trial = null;
}

/** Draws it, by the small network where the style has one. Returns in how many ms to ask a busy server again, or 0. */
async function tryOne(style, photo, signal) {
  const form = new FormData();
  form.set("image", photo.small, "try.jpg");
  form.set("style", style.id);
  form.set("format", "jpeg");
  if (style.fast) form.set("quality", "fast");
  try {
    // Nobody's picture is to wait for a try, and what would be refused is not sent.
    if ((await call("v1/queue")).body.waiting) return QUIET_MS;
    if (signal.aborted) return 0;
    const { id, picture } = await stylize(form, signal);
    if (id) call(`v1/jobs/${id}`, { method: "DELETE" }).catch(() => {}); // nothing is kept of a mere try
    if (!picture) return QUIET_MS;
    if (signal.aborted) return 0;
    tried.set(style.id, URL.createObjectURL(picture));
  } catch (error) {
    if (error instanceof Problem && error.status === 429) return error.retryAfterS * 1000;
    refused = !signal.aborted && error instanceof Problem;
    return QUIET_MS;
  }
  const image = $(`style-${style.id}`)?.parentElement.querySelector("img");
  if (image) image.src = tried.get(style.id);
  renderAbout();
  return 0;
}

/** Room for what was really asked for. */
export function stopTrying() {
  trial?.abort();
  trial = null;
}

function forget() {
  for (const address of tried.values()) URL.revokeObjectURL(address);
  const had = tried.size;
  tried.clear();
  if (had) render();
}
