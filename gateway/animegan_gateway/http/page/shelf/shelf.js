/** All pictures that were asked for, the newest first. */

import { announce } from "../base/announce.js";
import { cardOf, fileNameOf, isVideo, messageOf, nameOf, viewOf } from "./card.js";
import { $, calm, save, say } from "../base/dom.js";
import { onLanguage, t } from "../base/i18n.js";
import { allEntries, dismiss, fetchDrawing, isFinal, onDismissed, onJobs, statusOf } from "../jobs/jobs.js";
import { renderSheets } from "./sheets.js";
import { followTab, openTab } from "../jobs/tab.js";
import { openViewer, prepareViewer } from "./viewer.js";

/** @type {Map<import("../jobs/jobs.js").Entry, ReturnType<typeof cardOf>>} */
const cards = new Map();
let packing = false;

const doneEntries = () => allEntries().filter((entry) => statusOf(entry) === "done");

/** @param {() => void} ended called after every picture that ended */
export function openShelf(ended) {
  onJobs((entry, before) => {
    if (!cards.has(entry)) place(entry);
    const { element, render } = cards.get(entry);
    const focused = document.activeElement;
    render();
    // the button that was pressed may just have gone: the keyboard stays on the card
    if (focused?.hidden && element.contains(focused)) element.focus({ preventScroll: true });
    const status = statusOf(entry);
    if (status === before) return;
    renderHead();
    followTab();
    if (before && !["waiting", "uploading"].includes(status)) tell(entry, status);
    if (isFinal(entry)) ended();
  });
  onDismissed(takeOff);
  prepareViewer();
  openTab();
  $("download-all").onclick = downloadAll;
  onLanguage(renderAll);
}

/** Once more, for example when the styles' names have arrived. */
export function renderAll() {
  for (const card of cards.values()) card.render();
  renderHead();
}

/** Brings the first of these into view, and the keyboard to it. */
export function showCard(entry) {
  const { element } = cards.get(entry);
  $("shelf").scrollIntoView({ behavior: calm() ? "auto" : "smooth", block: "start" });
  element.focus({ preventScroll: true });
}

function place(entry) {
  const card = cardOf(entry, { onDismiss: putAway, onLook: lookAt });
  cards.set(entry, card);
  const next = allEntries().slice(allEntries().indexOf(entry) + 1).find((other) => cards.has(other));
  $("jobs").insertBefore(card.element, next ? cards.get(next).element : null);
  renderHead();
}

function lookAt(entry) {
  const done = doneEntries().filter((other) => !isVideo(other.job));
  openViewer(done.map(viewOf), done.indexOf(entry));
}

function putAway(entry) {
  const { element } = cards.get(entry);
  const neighbour = element.nextElementSibling ?? element.previousElementSibling;
  dismiss(entry);
  takeOff(entry);
  (neighbour ?? $("file")).focus();
}

function takeOff(entry) {
  cards.get(entry)?.element.remove();
  cards.delete(entry);
  renderHead();
  followTab();
}

function tell(entry, status) {
  const name = nameOf(entry);
  announce(status === "done" ? t("done", { name }) : t("said", { name, message: messageOf(entry) }));
}

function renderHead() {
  const n = doneEntries().length;
  $("shelf").hidden = !cards.size;
  $("download-all").hidden = n < 2;
  if (!packing) say($("download-all"), t("downloadAll", { n }));
  renderSheets();
}

async function downloadAll() {
  const button = $("download-all");
  packing = button.disabled = true;
  let text = "";
  try {
    const { downloadZip } = await import("../vendor/client-zip.js");
    save(await downloadZip(files(doneEntries(), (values) => say(button, t("zipping", values)))).blob(), "anime.zip");
  } catch {
    text = t("zipFailed");
  }
  packing = button.disabled = false;
  renderHead();
  button.focus();
  $("zip-error").textContent = text;
}

async function* files(entries, tell) {
  const taken = new Set();
  for (const [index, entry] of entries.entries()) {
    tell({ i: index + 1, n: entries.length });
    const name = fileNameOf(entry);
    let unique = name;
    for (let copy = 2; taken.has(unique); copy += 1) unique = name.replace(/(\.\w+)$/, `-${copy}$1`);
    taken.add(unique);
    const lastModified = new Date(entry.job.finished_at);
    const input = await fetchDrawing(entry);
    if (input) yield { name: unique, input, lastModified };
  }
}
