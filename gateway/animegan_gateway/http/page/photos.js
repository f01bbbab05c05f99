/** The photos on the table: taken in, shown, taken away. */

import { announce } from "./announce.js";
import { $, h, say } from "./dom.js";
import { onLanguage, t } from "./i18n.js";

const SHOWN_PX = 1600;
const TRIED_PX = 320; // smaller, the strokes are too broad to tell the styles apart

/**
 * @typedef {object} Photo
 * @property {File} file
 * @property {string} name
 * @property {string | null} shown address of a version for the screen; null where this browser can't read the file
 * @property {Blob | null} small what the styles are tried on
 * @property {Promise<void>} ready
 */

/** @type {Photo[]} */
let photos = [];
/** @type {Photo | undefined} */
let current;
let drawn = false;

/** @type {() => void} */
let changed = () => {};

// One after the other: a phone can't hold several decoded photos.
let decoding = Promise.resolve();

export const onPhotos = (listener) => { changed = listener; };
export const photosOnTable = () => ({ photos, current, drawn });

/** From now on they stay for another try, and the next ones replace them. */
export function markDrawn() {
  drawn = true;
  changed();
}

/** @param {Iterable<File>} files */
export function takeIn(files) {
  const added = [...files].map(photoOf);
  if (!added.length) return;
  photos = drawn ? added : [...photos, ...added];
  drawn = false;
  current = added[0];
  announce(t("added", { n: photos.length }));
  render();
  changed();
}

/** @returns {Photo} */
function photoOf(file) {
  const photo = { file, name: file.name, shown: null, small: null };
  decoding = photo.ready = decoding.then(() => prepare(photo));
  photo.ready.then(() => {
    render();
    changed();
  });
  return photo;
}

async function prepare(photo) {
  let picture;
  try {
    picture = await createImageBitmap(photo.file, { imageOrientation: "from-image" });
    photo.shown = URL.createObjectURL(await scaled(picture, SHOWN_PX));
    photo.small = await scaled(picture, TRIED_PX);
  } catch {
    // not readable here (TIFF, HEIC): the server has the last word
  } finally {
    picture?.close();
  }
}

function scaled(picture, side) {
  const scale = Math.min(1, side / Math.max(picture.width, picture.height));
  const width = Math.max(1, Math.round(picture.width * scale));
  const height = Math.max(1, Math.round(picture.height * scale));
  const canvas = h("canvas", { width, height });
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.fillStyle = "#fff"; // the server draws what is transparent on white, too
  context.fillRect(0, 0, width, height);
  context.drawImage(picture, 0, 0, width, height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.9));
}

function takeAway(photo) {
  const index = photos.indexOf(photo);
  photos = photos.filter((other) => other !== photo);
  if (current === photo) current = photos[Math.min(index, photos.length - 1)];
  render();
  changed();
  ($("strip").children[Math.min(index, photos.length - 1)]?.querySelector("button") ?? $("file")).focus();
}

function render() {
  $("drop").classList.toggle("laid", photos.length > 0);
  $("drop").classList.toggle("readable", Boolean(current?.shown));
  const chosen = $("chosen");
  chosen.hidden = !current?.shown;
  if (current?.shown) {
    if (chosen.src !== current.shown) chosen.src = current.shown;
    chosen.alt = t("chosenPhoto", { name: current.name });
  }
  $("unseen").hidden = !current || Boolean(current.shown);
  if (current) say($("unseen"), t("unseen", { name: current.name }));
  $("file-label").classList.toggle("primary", !photos.length);
  say($("file-label"), t(photos.length && !drawn ? "chooseMore" : "choose"));
  const strip = $("strip");
  strip.hidden = !photos.length;
  strip.replaceChildren(...photos.map(thumb));
}

function thumb(photo) {
  const show = h("button", {
    type: "button", className: "thumb", "aria-label": t("show", { name: photo.name }), "aria-pressed": String(photo === current),
    onclick: () => {
      current = photo;
      render();
      changed();
      $("strip").children[photos.indexOf(photo)].querySelector("button").focus();
    },
  }, photo.shown ? h("img", { src: photo.shown, alt: "" }) : photo.name);
  const away = h("button", {
    type: "button", className: "away", "aria-label": t("takeAway", { name: photo.name }), onclick: () => takeAway(photo),
  }, "×");
  return h("li", {}, show, away);
}

/** Dropped anywhere, pasted anywhere, or chosen. */
export function openTable() {
  const drop = $("drop");
  let depth = 0; // dragenter and dragleave come for every child
  const over = (more) => {
    depth = Math.max(0, depth + more);
    drop.classList.toggle("over", depth > 0);
  };
  document.addEventListener("dragenter", () => over(1));
  document.addEventListener("dragleave", () => over(-1));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    over(-depth);
    takeIn(event.dataTransfer.files);
  });
  document.addEventListener("paste", (event) => {
    takeIn([...event.clipboardData.files].map((file) => new File([file], `${t("pastedPhoto")}-${file.name}`, { type: file.type })));
  });
  for (const input of [$("file"), $("shoot")]) {
    input.addEventListener("change", () => {
      takeIn(input.files);
      input.value = ""; // the same photo may be chosen again
    });
  }
  // the whole sheet is one big button for the pointer; the keyboard has the real one
  drop.querySelector(".frame").addEventListener("click", () => $("file").click());
  onLanguage(render);
}
