/** The drawings at full screen: zoomed, moved, leafed through, each in step with its photo. */

import { $, say } from "../base/dom.js";
import { onLanguage, t } from "../base/i18n.js";

const MOST_SCALE = 8;
const STEP = 1.25;
const PAN_PX = 80;
const SWIPE_PX = 60;

/**
 * @typedef {object} View
 * @property {string} title
 * @property {string} drawing its address
 * @property {string | null} photo its address; null where the browser has none
 * @property {string} alt
 * @property {number} width in px
 * @property {number} height
 */

/** @type {View[]} */
let views = [];
let index = 0;
/** Where the picture's middle is from the stage's, in px, and how large a pixel of it is. */
let at = { x: 0, y: 0, scale: 1 };
let held = false;
/** @type {Map<number, { x: number, y: number }>} */
const fingers = new Map();
let swipe = 0;

const stage = () => $("viewer-stage");

/** The scale at which all of it is seen, and none of its pixels larger than they are. */
function fitScale() {
  const { width, height } = views[index];
  const box = stage().getBoundingClientRect();
  return Math.min(1, box.width / width, box.height / height);
}

/** @param {View[]} all @param {number} first */
export function openViewer(all, first) {
  views = all;
  index = first;
  held = false;
  $("viewer-split").value = "0";
  $("viewer").showModal();
  show();
  fit();
  stage().focus();
}

function show() {
  const view = views[index];
  const drawing = $("viewer-drawing");
  const photo = $("viewer-photo");
  drawing.src = view.drawing;
  drawing.alt = view.alt;
  if (view.photo) photo.src = view.photo;
  else photo.removeAttribute("src");
  for (const image of [drawing, photo]) Object.assign(image, { width: view.width, height: view.height });
  $("viewer-split").disabled = $("viewer-hold").disabled = !view.photo;
  say($("viewer-title"), view.title);
  say($("viewer-place"), views.length > 1 ? t("viewerPlace", { i: index + 1, n: views.length }) : "");
  $("viewer-previous").hidden = $("viewer-next").hidden = views.length < 2;
  $("viewer-previous").disabled = index === 0;
  $("viewer-next").disabled = index === views.length - 1;
}

/** The neighbours of one size stay at the same place, to be compared. */
function step(by) {
  const before = views[index];
  const after = views[index + by];
  if (!after) return;
  index += by;
  show();
  if (before.width === after.width && before.height === after.height) place();
  else fit();
}

function fit() {
  at = { x: 0, y: 0, scale: fitScale() };
  place();
}

function place() {
  const { width, height } = views[index];
  const box = stage().getBoundingClientRect();
  // what is larger than the stage fills it, what is smaller stays in its middle
  const room = { x: Math.max(0, (width * at.scale - box.width) / 2), y: Math.max(0, (height * at.scale - box.height) / 2) };
  at.x = Math.min(room.x, Math.max(-room.x, at.x));
  at.y = Math.min(room.y, Math.max(-room.y, at.y));
  for (const image of [$("viewer-drawing"), $("viewer-photo")]) {
    image.style.transform = `translate(-50%, -50%) translate(${at.x}px, ${at.y}px) scale(${at.scale})`;
  }
  const share = held ? 100 : Number($("viewer-split").value);
  $("viewer-cover").style.clipPath = `inset(0 ${100 - share}% 0 0)`;
  $("viewer-line").style.left = `${share}%`;
  $("viewer-line").hidden = share <= 0 || share >= 100;
  $("viewer-split").setAttribute("aria-valuetext", t("compareValue", { percent: share }));
  $("viewer-hold").setAttribute("aria-pressed", String(held));
  say($("viewer-scale"), t("percent", { n: Math.round(at.scale * 100) }));
  stage().classList.toggle("larger", room.x > 0 || room.y > 0);
}

/** @param {number} scale @param {{ x: number, y: number }} [around] a point of the stage that stays where it is */
function zoom(scale, around = { x: 0, y: 0 }) {
  const next = Math.min(MOST_SCALE, Math.max(fitScale(), scale));
  const factor = next / at.scale;
  at = { x: around.x + (at.x - around.x) * factor, y: around.y + (at.y - around.y) * factor, scale: next };
  place();
}

function pointOf(event) {
  const box = stage().getBoundingClientRect();
  return { x: event.clientX - box.left - box.width / 2, y: event.clientY - box.top - box.height / 2 };
}

/** All of it, or its own pixels; where these are the same, twice as large. */
function toggle(around) {
  const whole = fitScale();
  if (at.scale > whole * 1.01) fit();
  else zoom(whole < 0.99 ? 1 : 2, around);
}

function hold(now) {
  held = now && !$("viewer-hold").disabled;
  place();
}

function press(event) {
  stage().setPointerCapture(event.pointerId);
  fingers.set(event.pointerId, pointOf(event));
  swipe = 0;
}

function move(event) {
  const before = fingers.get(event.pointerId);
  if (!before) return;
  const after = pointOf(event);
  const other = [...fingers].find(([id]) => id !== event.pointerId)?.[1];
  fingers.set(event.pointerId, after);
  if (other) {
    const apart = (point) => Math.hypot(point.x - other.x, point.y - other.y) || 1;
    zoom(at.scale * apart(after) / apart(before), { x: (after.x + other.x) / 2, y: (after.y + other.y) / 2 });
    swipe = NaN;
    return;
  }
  const whole = at.scale <= fitScale() * 1.01;
  if (whole && event.pointerType === "touch") swipe += after.x - before.x;
  at.x += after.x - before.x;
  at.y += after.y - before.y;
  place();
}

function release(event) {
  if (!fingers.delete(event.pointerId) || fingers.size) return;
  if (Math.abs(swipe) > SWIPE_PX) step(swipe < 0 ? 1 : -1);
  swipe = 0;
}

const pan = (x, y) => {
  at.x += x;
  at.y += y;
  place();
};

function key(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const slider = event.target === $("viewer-split");
  const larger = stage().classList.contains("larger");
  const arrows = slider ? {} : larger
    ? { ArrowLeft: () => pan(PAN_PX, 0), ArrowRight: () => pan(-PAN_PX, 0), ArrowUp: () => pan(0, PAN_PX), ArrowDown: () => pan(0, -PAN_PX) }
    : { ArrowLeft: () => step(-1), ArrowRight: () => step(1) };
  const act = {
    "+": () => zoom(at.scale * STEP), "=": () => zoom(at.scale * STEP), "-": () => zoom(at.scale / STEP),
    0: fit, 1: () => zoom(1), ...(slider ? {} : { PageUp: () => step(-1), PageDown: () => step(1) }), ...arrows,
    ...(event.target === stage() && { " ": () => hold(true) }),
  }[event.key];
  if (!act) return;
  event.preventDefault();
  act();
}

export function prepareViewer() {
  const dialog = $("viewer");
  const area = stage();
  area.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(at.scale * Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.002)), pointOf(event));
  }, { passive: false });
  area.onpointerdown = press;
  area.onpointermove = move;
  area.onpointerup = area.onpointercancel = release;
  area.ondblclick = (event) => toggle(pointOf(event));
  area.ondragstart = (event) => event.preventDefault();
  dialog.onkeydown = key;
  dialog.onkeyup = (event) => { if (event.key === " " && event.target === area) hold(false); };
  dialog.onclose = () => fingers.clear();
  $("viewer-close").onclick = () => dialog.close();
  $("viewer-previous").onclick = () => step(-1);
  $("viewer-next").onclick = () => step(1);
  $("viewer-out").onclick = () => zoom(at.scale / STEP);
  $("viewer-in").onclick = () => zoom(at.scale * STEP);
  $("viewer-scale").onclick = () => toggle();
  $("viewer-split").oninput = place;
  const button = $("viewer-hold");
  button.onpointerdown = () => hold(true);
  button.onpointerup = button.onpointerleave = button.onpointercancel = () => hold(false);
  button.onkeydown = (event) => { if (event.key === " " || event.key === "Enter") hold(true); };
  button.onkeyup = button.onblur = () => hold(false);
  button.oncontextmenu = (event) => event.preventDefault();
  addEventListener("resize", () => { if (dialog.open) fit(); });
  onLanguage(() => {
    for (const [id, text] of [["close", "close"], ["previous", "previous"], ["next", "next"], ["out", "zoomOut"], ["in", "zoomIn"]]) {
      $(`viewer-${id}`).setAttribute("aria-label", t(text));
      $(`viewer-${id}`).title = t(text);
    }
    $("viewer-split").setAttribute("aria-label", t("compare"));
    $("viewer-scale").title = t("zoomToggle");
    stage().setAttribute("aria-label", t("viewerStage"));
  });
}
