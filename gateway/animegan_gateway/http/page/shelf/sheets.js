/** One photo in several styles on one sheet, to be compared, and saved as one picture. */

import { at } from "../server/api.js";
import { filmOf, isVideo, nameOf, messageOf, viewOf } from "./card.js";
import { $, h, save, say } from "../base/dom.js";
import { t } from "../base/i18n.js";
import { allEntries, fetchDrawing, isFinal, statusOf } from "../jobs/jobs.js";
import { styleOf } from "../styles/styles.js";
import { openViewer } from "./viewer.js";

const CELL_PX = 720;
const CAPTION_PX = 44;
const GAP_PX = 12;

/** @type {Map<string, { element: HTMLElement, render: (entries: any[]) => void }>} */
const sheets = new Map();

const wordOf = (entry) => isFinal(entry) ? messageOf(entry) : "…";
const titleOf = (entry) => styleOf(entry.fields.style)?.title ?? entry.fields.style;

/** After any change of a job. */
export function renderSheets() {
  /** @type {Map<string, any[]>} */
  const groups = new Map();
  for (const entry of allEntries()) if (entry.sheet) groups.set(entry.sheet, [...groups.get(entry.sheet) ?? [], entry]);
  for (const [id, sheet] of sheets) {
    if (groups.has(id)) continue;
    sheet.element.remove();
    sheets.delete(id);
  }
  for (const [id, entries] of groups) {
    if (!sheets.has(id)) sheets.set(id, sheetOf());
    const sheet = sheets.get(id);
    sheet.render(entries);
    if (!sheet.element.isConnected) $("sheets").prepend(sheet.element);
  }
  $("sheets").hidden = !groups.size;
}

function sheetOf() {
  const title = h("h3");
  const cells = h("ul", { className: "cells" });
  const button = h("button", { type: "button", "data-testid": "save-sheet" });
  const element = h("article", { className: "compared sheet", "data-testid": "sheet" },
    h("div", { className: "job-head" }, title, button), cells);
  let shown = "";

  function render(entries) {
    const name = nameOf(entries[0]);
    const done = entries.filter((entry) => statusOf(entry) === "done" && !isVideo(entry.job));
    say(title, t("sheetTitle", { name }));
    say(button, t("sheetSave"));
    button.hidden = done.length < 2;
    button.onclick = () => saveSheet(done, name, button);
    const photo = entries[0].photo?.shown;
    const signature = [photo, ...entries.map((entry) => `${titleOf(entry)} ${statusOf(entry)} ${wordOf(entry)}`)].join();
    if (signature === shown) return;
    shown = signature;
    cells.replaceChildren(
      ...(photo ? [h("li", {}, h("span", { className: "cell" }, h("img", { src: photo, alt: "" })), h("span", {}, t("photo")))] : []),
      ...entries.map((entry) => cell(entry, done)));
  }

  return { element, render };
}

function cell(entry, done) {
  const style = titleOf(entry);
  if (statusOf(entry) !== "done") {
    return h("li", { className: "pending" }, h("span", { className: "cell" }, h("span", {}, wordOf(entry))), h("span", {}, style));
  }
  if (isVideo(entry.job)) return h("li", {}, h("span", { className: "cell" }, filmOf(entry.job)), h("span", {}, style));
  const image = h("img", { src: at(`v1/jobs/${entry.job.id}/result`), alt: "" });
  const look = h("button", {
    type: "button", className: "cell", "aria-label": `${t("look")}: ${style}`, onclick: () => openViewer(done.map(viewOf), done.indexOf(entry)),
  }, image);
  return h("li", {}, look, h("span", {}, style));
}

async function saveSheet(entries, name, button) {
  button.disabled = true;
  try {
    const pictures = [];
    for (const entry of entries) {
      const drawing = await fetchDrawing(entry);
      if (drawing) pictures.push([titleOf(entry), await createImageBitmap(drawing)]);
    }
    save(await paint(pictures), `${name}-${t("sheetFile")}.jpg`);
  } finally {
    button.disabled = false;
  }
}

function paint(pictures) {
  const [, first] = pictures[0];
  const columns = Math.ceil(Math.sqrt(pictures.length));
  const width = Math.min(CELL_PX, first.width);
  const height = Math.round(width * first.height / first.width);
  const rows = Math.ceil(pictures.length / columns);
  const canvas = h("canvas", {
    width: columns * (width + GAP_PX) + GAP_PX, height: rows * (height + CAPTION_PX + GAP_PX) + GAP_PX,
  });
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.fillStyle = "#1a2330";
  context.font = `600 ${CAPTION_PX / 2}px ${getComputedStyle(document.body).fontFamily}`;
  context.imageSmoothingQuality = "high";
  for (const [index, [style, picture]] of pictures.entries()) {
    const x = GAP_PX + (index % columns) * (width + GAP_PX);
    const y = GAP_PX + Math.floor(index / columns) * (height + CAPTION_PX + GAP_PX);
    context.drawImage(picture, x, y, width, height);
    context.fillText(style, x, y + height + CAPTION_PX * 0.65);
    picture.close();
  }
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
}
