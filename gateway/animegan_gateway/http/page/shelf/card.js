/** One picture on its way, as a sheet of paper on the shelf. */

import { announce } from "../base/announce.js";
import { at } from "../server/api.js";
import { compare } from "./compare.js";
import { lost } from "../server/connection.js";
import { h, save, say } from "../base/dom.js";
import { explain, t } from "../base/i18n.js";
import { locale } from "../base/language.js";
import { cancel, fetchDrawing, isFinal, remove, retry, statusOf } from "../jobs/jobs.js";
import { canCopy, canShare, copy, share } from "./share.js";
import { licenceLink, mark, styleOf } from "../styles/styles.js";
import { headway, standing } from "../jobs/waiting.js";

const LOAD_ATTEMPTS = 5;
const SAID_MS = 2500;
const ENDINGS = { "image/jpeg": "jpg", "image/png": "png", "image/webp": "webp", "image/gif": "gif", "image/avif": "avif", "video/mp4": "mp4" };

/** @typedef {import("../jobs/jobs.js").Entry} Entry */

const stem = (/** @type {string} */ name) => name.replace(/\.[^.]{1,5}$/, "") || name;

/** What a picture is called on the page. Where this browser kept nothing only the server knows it, and it knows no names. */
export function nameOf(entry) {
  if (entry.photo) return stem(entry.photo.name);
  return `${t("drawing")} ${clock(entry.job.accepted_at)}`;
}

export function fileNameOf(entry) {
  const name = entry.photo ? stem(entry.photo.name) : `anime-${entry.job.id.slice(0, 6)}`;
  return `${name}-${entry.job.style}.${ENDINGS[entry.job.result.content_type] ?? "img"}`;
}

/** A drawing as the viewer shows it. @returns {import("./viewer.js").View} */
export function viewOf(entry) {
  const { job, photo } = entry;
  const name = nameOf(entry);
  const style = styleOf(job.style)?.title ?? job.style;
  return {
    title: [name, style].join(t("comma")), drawing: at(`v1/jobs/${job.id}/result`), photo: photo?.shown ?? null,
    alt: t("resultAlt", { name, style }), width: job.size.width, height: job.size.height,
  };
}

const styleIdOf = (entry) => entry.job?.style ?? entry.fields.style;
const problemOf = (entry) => entry.job ? entry.job.error : entry.problem;

/** @param {Entry} entry */
export function messageOf(entry) {
  const { job, phase, problem } = entry;
  const seconds = Math.ceil((entry.retryAt - Date.now()) / 1000);
  if (entry.note) return entry.note;
  if (entry.cancelling) return t("cancelling");
  if (job) return job.status === "failed" && job.error ? explain(job.error) : standing(entry) ?? job.message;
  if (phase === "failed") return explain(problem);
  if (phase === "cancelled") return t("cancelledHere");
  if (phase === "uploading") return entry.progress < 1 ? t("uploading", { percent: Math.round(entry.progress * 100) }) : t("uploaded");
  return seconds > 0 ? t("busy", { detail: explain(problem), seconds }) : t("waiting");
}

/**
 * @param {Entry} entry
 * @param {{ onDismiss: (entry: Entry) => void, onLook: (entry: Entry) => void }} acts
 */
export function cardOf(entry, { onDismiss, onLook }) {
  const button = (testid, act, className = "") => h("button", { type: "button", className, "data-testid": testid, onclick: (event) => act(entry, event.currentTarget) });
  const title = h("h3");
  const style = h("p", { className: "job-style" });
  const picture = h("div", { className: "picture" });
  const message = h("p", { className: "message", "data-testid": "message" });
  const progress = h("progress", { max: 1 });
  const notes = h("ul", { className: "notes", "data-testid": "notes" });
  const look = h("button", { type: "button", className: "look", "data-testid": "look", onclick: () => onLook(entry) }, "⤢");
  const download = h("a", { className: "button primary", "data-testid": "download", onclick: take });
  const buttons = {
    share: button("share", sendOn(share)),
    copy: button("copy", sendOn(copy)),
    retry: button("retry", retry, "primary"),
    cancel: button("cancel", cancel),
    delete: button("delete", remove),
    dismiss: button("dismiss", onDismiss),
    again: button("again", retry),
  };
  const element = h("article", { className: "job sheet", tabIndex: -1, "data-testid": "job" },
    h("span", { className: "pegs", "aria-hidden": "true" }),
    h("div", { className: "job-head" }, title, style),
    picture,
    h("div", { className: "job-foot" },
      h("div", { className: "words" }, message, progress, notes),
      h("div", { className: "actions" }, download, ...Object.values(buttons))));

  let shown = "";
  /** @type {ReturnType<typeof compare> | null} */
  let slider = null;
  let ticking = 0;

  /** Hands the drawing on; the button says how it went. */
  function sendOn(way) {
    return async (_, control) => {
      const drawing = entry.drawing ??= await fetchDrawing(entry);
      if (!drawing) return;
      const said = await way(drawing, fileNameOf(entry));
      if (!said) return;
      announce(t(said));
      control.textContent = t(said);
      setTimeout(render, SAID_MS);
    };
  }

  function showPicture(status) {
    const { photo, job } = entry;
    const view = `${status === "done" ? job.id : isFinal(entry) ? "small" : "photo"} ${photo?.shown ?? ""} ${job?.size?.width}`;
    if (view === shown) return;
    shown = view;
    slider = null;
    const size = job?.size;
    if (size) shape(size.width, size.height);
    if (status === "done") {
      const after = isVideo(job) ? resultVideo(job, picture) : resultImage(job, picture);
      if (isVideo(job)) return picture.replaceChildren(after);
      slider = photo?.shown ? compare(photo.shown, after) : null;
      const frame = slider?.element ?? h("div", { className: "compare" }, after);
      frame.onclick = () => onLook(entry);
      frame.append(look);
      picture.replaceChildren(frame);
    } else {
      picture.replaceChildren(...(photo?.shown ? [h("img", { src: photo.shown, alt: "", onload: measure })] : []));
    }
  }

  function measure({ target }) {
    if (!entry.job?.size) shape(target.naturalWidth, target.naturalHeight);
  }

  function shape(width, height) {
    picture.style.setProperty("--ratio", String(width / height));
    picture.style.setProperty("--own", `${width}px`);
    element.classList.toggle("tall", width < height);
  }

  /** Under the photo's own name, which the server doesn't know. */
  async function take(event) {
    event.preventDefault();
    const name = fileNameOf(entry);
    const drawing = await fetchDrawing(entry);
    if (drawing) save(drawing, name);
  }

  function render() {
    const status = statusOf(entry);
    const { job } = entry;
    const active = !isFinal(entry);
    const name = nameOf(entry);
    const problem = problemOf(entry);
    const known = styleOf(styleIdOf(entry));
    const styleTitle = known?.title ?? styleIdOf(entry);
    element.dataset.status = status;
    element.classList.toggle("ended", !active && status !== "done");
    element.setAttribute("aria-label", `${name}, ${styleTitle}`);
    say(title, name);
    const signature = `${locale()} ${styleTitle} ${job?.license}`;
    if (style.dataset.signature !== signature) {
      style.dataset.signature = signature;
      style.replaceChildren(styleTitle, " ", licenceLink(known, job?.license ?? known?.license ?? ""), ...mark(job ?? known));
    }
    showPicture(status);
    slider?.translate();
    const image = status === "done" && picture.querySelector("img.after");
    if (image) image.alt = t("resultAlt", { name, style: styleTitle });
    const film = status === "done" && picture.querySelector("video");
    if (film) film.setAttribute("aria-label", t("resultAlt", { name, style: styleTitle }));

    const again = problem?.retryable ?? false;
    const lacksPhoto = status === "failed" && problem?.retryable && !entry.photo;
    say(message, messageOf(entry) + (lacksPhoto ? `${t("gap")}${t("fileGone")}` : ""));
    const over = status === "cancelled" || status === "expired"; // of its drawing nothing is left to be told
    const lines = over ? [] : [...(job?.notes ?? []), ...(status === "done" ? [facts(job)] : [])];
    if (notes.textContent !== lines.join("")) notes.replaceChildren(...lines.map((line) => h("li", {}, line)));
    notes.hidden = !lines.length;

    progress.hidden = !active;
    progress.setAttribute("aria-label", name);
    const part = status === "uploading" && entry.progress < 1 ? entry.progress : (headway(entry)?.percent ?? 0) / 100;
    if (part) progress.value = part;
    else progress.removeAttribute("value");

    download.hidden = status !== "done";
    if (status === "done") {
      download.href = at(`v1/jobs/${job.id}/result`);
    }
    buttons.share.hidden = status !== "done" || !canShare(fileNameOf(entry), job.result.content_type);
    buttons.copy.hidden = status !== "done" || !canCopy() || isVideo(job);
    buttons.retry.hidden = active || over || !again || !entry.photo;
    buttons.again.hidden = !over || !entry.photo;
    buttons.cancel.hidden = !active;
    buttons.cancel.disabled = entry.cancelling;
    buttons.delete.hidden = !(status === "done" || (status === "failed" && job));
    buttons.dismiss.hidden = active || status === "done";
    look.title = t("look");
    look.setAttribute("aria-label", `${t("look")}: ${name}`);
    for (const [key, control] of Object.entries({ ...buttons, download })) {
      say(control, t(key));
      control.setAttribute("aria-label", `${t(key)}: ${name}`);
      const why = t(`${key}Why`, { time: job?.expires_at && clock(job.expires_at) });
      if (why) control.title = why;
    }

    clearTimeout(ticking);
    const counts = status === "waiting" ? entry.retryAt > Date.now() : job?.eta_s != null && active;
    if (counts) ticking = setTimeout(render, 1000);
  }

  render();
  return { element, render };
}

const clock = (moment) => new Date(moment).toLocaleTimeString(locale(), { hour: "2-digit", minute: "2-digit" });

function facts(job) {
  const bytes = job.result.bytes;
  const [value, unit] = bytes < 1e6 ? [bytes / 1e3, "kilobyte"] : [bytes / 1e6, "megabyte"];
  const weight = new Intl.NumberFormat(locale(), { style: "unit", unit, maximumFractionDigits: unit === "megabyte" ? 1 : 0 }).format(value);
  const detail = styleOf(job.style)?.details.length && t("detailOf")[job.detail];
  return [`${job.size.width} × ${job.size.height} px`, weight, ...(detail ? [detail] : [])].join(t("comma"));
}

export const isVideo = (job) => job.result.content_type.startsWith("video/");

/** A drawn video, played where somebody asks for it, never by itself. */
export const filmOf = (job) => h("video", {
  className: "film", src: at(`v1/jobs/${job.id}/result`), controls: true, playsInline: true, preload: "metadata",
  width: job.size.width, height: job.size.height, "data-testid": "film",
});

function resultVideo(job, picture) {
  const film = filmOf(job);
  film.onerror = () => picture.replaceChildren(h("p", { className: "error" }, t("resultGone")));
  return film;
}

function resultImage(job, picture) {
  const src = at(`v1/jobs/${job.id}/result`);
  const image = h("img", { className: "after", src, width: job.size.width, height: job.size.height });
  let attempts = 0;
  image.onerror = async () => {
    attempts += 1;
    if (attempts >= LOAD_ATTEMPTS) return picture.replaceChildren(h("p", { className: "error" }, t("resultGone")));
    await lost();
    image.src = src;
  };
  return image;
}
