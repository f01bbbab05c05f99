/** The photos on the table: taken in, shown, taken away, kept for a reload and for other tabs. */

import { announce } from "../base/announce.js";
import { $, h, say } from "../base/dom.js";
import { onLanguage, t } from "../base/i18n.js";
import { newId } from "../base/ids.js";
import { kindOf } from "./kinds.js";
import { drop, keep, onOtherTab, recall } from "../base/memory.js";
import { photoOf } from "./photo.js";
import { session } from "../server/session.js";

/** @typedef {import("./photo.js").Photo} Photo */

/** @type {Photo[]} */
let photos = [];
/** @type {Photo | undefined} */
let current;
/** @type {Map<string, Photo>} all that are on the table or belong to a job */
const all = new Map();
/** @type {() => void} */
let changed = () => {};
/** @type {(photo: Photo) => boolean} */
let needed = () => false;

export const onPhotos = (listener) => { changed = listener; };
export const photosOnTable = () => ({ photos, current });
export const photoWith = (/** @type {string} */ id) => all.get(id);

/** @param {(photo: Photo) => boolean} asks whether a job still shows it */
export const onNeed = (asks) => { needed = asks; };

const untilOf = () => Date.now() + (session.keep_s ?? 3600) * 1000;

/** @param {Photo} photo @param {number} [until] */
async function remember(photo, until = untilOf()) {
  const { id, file, name, drawn } = photo;
  photo.kept = await keep("photos", { id, file, name, drawn, table: photos.includes(photo), at: photos.indexOf(photo), until });
}

/** The options that these were drawn with now, by their photo. @param {[Photo, string][]} pairs */
export function markDrawn(pairs) {
  for (const [photo, options] of pairs) {
    photo.drawn = options;
    remember(photo);
  }
  render();
  changed();
}

/** A photo is kept as long as what was drawn of it. @param {Photo} photo @param {number} until */
export const keepUntil = (photo, until) => remember(photo, Math.max(until, Date.now()));

/** Nothing of it stays in this browser beyond this page, unless it is on the table. @param {Photo} photo */
export function forgetKept(photo) {
  if (!photos.includes(photo)) drop("photos", photo.id);
}

/** @param {Iterable<File>} files */
export async function takeIn(files) {
  const kinds = await Promise.all([...files].map(async (file) => ({ file, kind: await kindOf(file).catch(() => "picture") })));
  const others = kinds.filter(({ kind }) => kind !== "picture");
  const notice = $("not-taken");
  notice.replaceChildren(...others.map(({ file, kind }) => h("li", {}, t("notPicture", { name: file.name, kind: t("kindNames")[kind] }))));
  notice.hidden = !others.length;
  if (others.length) announce(notice.textContent);
  const added = kinds.filter(({ kind }) => kind === "picture").map(({ file }) => enter(file, { id: newId() }));
  if (!added.length) return;
  photos = [...photos, ...added];
  current = added[0];
  for (const photo of added) remember(photo);
  announce(t("added", { n: photos.length }));
  render();
  changed();
}

function enter(file, record) {
  const photo = photoOf(file, record);
  all.set(photo.id, photo);
  photo.ready.then(() => {
    render();
    changed();
  });
  return photo;
}

function leave(photo) {
  if (needed(photo)) remember(photo);
  else forget(photo);
}

function forget(photo) {
  all.delete(photo.id);
  drop("photos", photo.id);
  if (photo.shown) URL.revokeObjectURL(photo.shown);
}

/** After a job went: its photo goes, too, where nothing else has it. @param {Photo | undefined} photo */
export function release(photo) {
  if (photo && !photos.includes(photo) && !needed(photo)) forget(photo);
}

function takeAway(photo) {
  const index = photos.indexOf(photo);
  photos = photos.filter((other) => other !== photo);
  if (current === photo) current = photos[Math.min(index, photos.length - 1)];
  leave(photo);
  render();
  changed();
  ($("strip").children[Math.min(index, photos.length - 1)]?.querySelector("button") ?? $("file")).focus();
}

function startAnew() {
  const before = photos;
  photos = [];
  current = undefined;
  before.forEach(leave);
  $("not-taken").hidden = true;
  render();
  changed();
  $("file").focus();
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
  say($("file-label"), t(photos.length ? "chooseMore" : "choose"));
  $("anew").hidden = !photos.length;
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
  return h("li", photo.drawn ? { className: "drawn" } : {}, show, away);
}

/** Those that were here before a reload, or that another tab has laid down or taken away. */
export async function recallPhotos() {
  const fresh = photos.filter((photo) => !photo.kept); // those that no record can name yet
  const records = (await recall("photos")).sort((a, b) => a.at - b.at);
  for (const record of records) {
    const photo = all.get(record.id) ?? enter(new File([record.file], record.name, { type: record.file.type }), record);
    Object.assign(photo, { drawn: record.drawn, kept: true });
  }
  const recorded = records.filter((record) => record.table).map((record) => all.get(record.id));
  photos = [...new Set([...recorded, ...photos.filter((photo) => !photo.kept || fresh.includes(photo))])];
  if (!photos.includes(current)) current = photos[0];
  render();
  changed();
}

/** Dropped anywhere, pasted anywhere, or chosen. */
export function openTable() {
  const sheet = $("drop");
  let depth = 0; // dragenter and dragleave come for every child
  const over = (more) => {
    depth = Math.max(0, depth + more);
    sheet.classList.toggle("over", depth > 0);
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
    input.addEventListener("change", async () => {
      const files = [...input.files];
      input.value = ""; // the same photo may be chosen again
      await takeIn(files);
    });
  }
  // the whole sheet is one big button for the pointer; the keyboard has the real one
  sheet.querySelector(".frame").addEventListener("click", () => $("file").click());
  $("anew").onclick = startAnew;
  onOtherTab("photos", recallPhotos);
  onLanguage(render);
}
