/** The button that draws: which photos it takes, and what it says of them. */

import { $, say } from "../base/dom.js";
import { t } from "../base/i18n.js";
import { newId } from "../base/ids.js";
import { drawAll } from "./jobs.js";
import { chosenOptions, nameOption } from "../styles/options.js";
import { markDrawn, photosOnTable } from "../photos/photos.js";
import { installedStyles, selectedStyle, styleOf } from "../styles/styles.js";

const fieldsNow = (style = selectedStyle()) => ({ style, ...chosenOptions() });

/**
 * What a click would draw: the photos that were not drawn like this yet; where all were, all of them once more.
 * @returns {{ photos: import("../photos/photo.js").Photo[], text: string, hint: string }}
 */
function plan() {
  const { photos } = photosOnTable();
  if (!photos.length) return { photos, text: t("drawNothing"), hint: "" };
  const now = JSON.stringify(fieldsNow());
  const fresh = photos.filter((photo) => photo.drawn !== now);
  const n = fresh.length;
  if (!n) return { photos, text: t("drawAgain", { n: photos.length }), hint: t("unchanged") };
  const never = fresh.filter((photo) => !photo.drawn).length;
  if (never === n) return { photos: fresh, text: t(n < photos.length ? "drawNew" : "draw", { n }), hint: "" };
  if (never) return { photos: fresh, text: t("draw", { n }), hint: "" };
  return { photos: fresh, text: t("drawChanged", { n, changes: changesOf(fresh[0]) }), hint: "" };
}

function changesOf(photo) {
  const [before, now] = [JSON.parse(photo.drawn), fieldsNow()];
  return Object.keys(now).filter((name) => name !== "max_pixels" && now[name] !== before[name])
    .map((name) => name === "style" ? styleOf(now.style)?.title ?? now.style : nameOption(name, now[name]));
}

export function renderDraw() {
  const { photos, text, hint } = plan();
  const { current } = photosOnTable();
  const ready = photos.length > 0 && Boolean(selectedStyle());
  $("draw").disabled = !ready;
  $("panel").classList.toggle("ready", ready);
  say($("draw"), text);
  $("draw").classList.toggle("same", Boolean(hint));
  say($("draw-hint"), hint);
  $("draw-hint").hidden = !hint;
  $("all-styles").hidden = installedStyles().length < 2;
  $("all-styles").disabled = !current;
}

/** @returns {import("./jobs.js").Entry} the first of those that are on their way now */
export function draw() {
  const { photos } = plan();
  const fields = fieldsNow();
  const [first] = drawAll(photos.map((photo) => ({ photo, fields })));
  markDrawn(photos.map((photo) => [photo, JSON.stringify(fields)]));
  return first;
}

/** The photo that is shown, in each style; to be seen side by side. */
export function drawInAllStyles() {
  const { current: photo } = photosOnTable();
  const sheet = newId();
  const [first] = drawAll(installedStyles().map(({ id }) => ({ photo, fields: fieldsNow(id), sheet })));
  markDrawn([[photo, JSON.stringify(fieldsNow())]]);
  return first;
}
