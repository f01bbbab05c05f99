/** Every picture on its way: sent, followed, and kept for a reload and for other tabs. */

import { Away, call, events, Problem, result, upload } from "../server/api.js";
import { overcome, steadily } from "../server/connection.js";
import { sleep } from "../base/dom.js";
import { explain, t } from "../base/i18n.js";
import { newId } from "../base/ids.js";
import { drop, keep, onOtherTab, otherTabs, recall, tab } from "../base/memory.js";
import { forgetKept, keepUntil, onNeed, photoWith, release } from "../photos/photos.js";
import { entered, session } from "../server/session.js";

// A browser opens 6 connections to one host: 2 for uploads, 1 for the event stream, the others for pictures and questions.
const UPLOADS = 2;
const UPLOAD_ATTEMPTS = 5;
const HANG_UP_MS = 1000;
const POLL_MS = 2000;
const POLL_HIDDEN_MS = 10_000;
const POLL_AT_ONCE = 4;
const FINAL = new Set(["done", "failed", "cancelled", "expired"]);

/**
 * @typedef {object} Entry
 * @property {string} id
 * @property {import("../photos/photo.js").Photo} [photo] missing where this browser keeps nothing and the page was reloaded
 * @property {Record<string, string>} [fields]
 * @property {string} sheet what it is compared with, in other styles, has the same one; empty: it stands alone
 * @property {string} owner the tab that sends it
 * @property {boolean} kept there is a record of it in this browser
 * @property {number} batch when it was asked for, in ms since 1970
 * @property {number} turn the order of sending
 * @property {string} key makes sure that an upload that is repeated is one job only
 * @property {any} job the server's word; null while it is not accepted
 * @property {string} phase waiting, uploading, failed or cancelled, while there is no job
 * @property {number} progress 0 to 1
 * @property {number} retryAt
 * @property {any} problem
 * @property {string} note overrides the server's message
 * @property {string | null} etag
 * @property {number} heardAt when the server's word came, in ms since 1970
 * @property {number} asked when it was last asked for
 * @property {(() => void) | null} abort
 * @property {boolean} cancelling
 */

/** @type {Entry[]} */
let entries = [];
/** @type {(entry: Entry, before: string) => void} */
let changed = () => {};
let turns = 0;
let uploading = 0;
let pausedUntil = 0;
/** @type {{ id: string, abort: AbortController } | null} */
let stream = null;
let pollTimer = 0;

export const allEntries = () => entries;
export const statusOf = (/** @type {Entry} */ entry) => entry.job?.status ?? entry.phase;
export const isFinal = (/** @type {Entry} */ entry) => FINAL.has(statusOf(entry));
export const onJobs = (listener) => { changed = listener; };
onNeed((photo) => entries.some((entry) => entry.photo === photo));

/** @returns {Entry} */
const entryOf = (record) => ({
  job: null, phase: "waiting", progress: 0, retryAt: 0, problem: null, note: "", etag: null, heardAt: 0, asked: 0, abort: null,
  cancelling: false, kept: false, sheet: "", owner: tab, id: newId(), key: newId(), turn: turns++, ...record,
});

function change(entry, values) {
  const before = statusOf(entry);
  const id = entry.job?.id;
  Object.assign(entry, values, values.job && { heardAt: Date.now() });
  if (!entries.includes(entry)) return;
  if (statusOf(entry) !== before || entry.job?.id !== id) remember(entry);
  changed(entry, before);
}

async function remember(entry) {
  const { id, key, photo, fields, sheet, batch, turn, job, owner } = entry;
  if (statusOf(entry) === "expired") {
    drop("jobs", id);
    if (photo && !entries.some((other) => other.photo === photo && statusOf(other) !== "expired")) forgetKept(photo);
    return;
  }
  const until = job?.expires_at ? Date.parse(job.expires_at) : Date.now() + session.keep_s * 1000;
  entry.kept = await keep("jobs", { id, key, photo: photo?.id, fields, sheet, batch, turn, owner, job: job?.id, until });
  if (photo && isFinal(entry)) keepUntil(photo, until);
}

// Sending

/** @param {{ photo: import("../photos/photo.js").Photo, fields: Record<string, string>, sheet?: string }[]} asks */
export function drawAll(asks) {
  const batch = Date.now();
  const added = asks.map((ask) => entryOf({ ...ask, batch }));
  entries = [...added, ...entries];
  for (const entry of added) {
    remember(entry);
    changed(entry, "");
    showPhoto(entry);
  }
  pump();
  return added;
}

/** Its card once more, when the photo is decoded. */
async function showPhoto(entry) {
  await entry.photo?.ready;
  change(entry, {});
}

function pump() {
  const pause = pausedUntil - Date.now();
  if (pause > 0) return void setTimeout(pump, pause);
  const waiting = entries.filter((entry) => statusOf(entry) === "waiting" && entry.owner === tab).sort((a, b) => a.turn - b.turn);
  for (const entry of waiting) {
    if (uploading >= UPLOADS) return;
    sendIn(entry);
  }
}

async function sendIn(entry) {
  const limit = session.limits.max_upload_mb;
  const mb = entry.photo.file.size / 2 ** 20;
  if (mb > limit) {
    const detail = t("tooLarge", { mb: Math.ceil(mb), limit });
    return change(entry, { phase: "failed", problem: { detail, retryable: false } });
  }
  uploading += 1;
  change(entry, { phase: "uploading", progress: 0, retryAt: 0, problem: null });
  try {
    await entered();
    accepted(entry, await attempts(entry));
  } catch (error) {
    refused(entry, error);
  } finally {
    uploading -= 1;
    entry.abort = null;
    pump();
  }
}

async function attempts(entry) {
  for (let attempt = 1; ; attempt += 1) {
    const form = new FormData();
    form.set("image", entry.photo.file, entry.photo.file.name);
    for (const [name, value] of Object.entries(entry.fields)) form.set(name, value);
    const { answer, abort } = upload(form, {
      key: entry.key,
      onprogress: (progress) => change(entry, { progress }),
    });
    entry.abort = abort;
    try {
      return await answer;
    } catch (error) {
      if (error instanceof Away && attempt >= UPLOAD_ATTEMPTS) throw new Problem({ detail: t("brokeOff"), retryable: true }, null);
      await overcome(error);
    }
    if (entry.cancelling) throw new DOMException("", "AbortError");
  }
}

function accepted(entry, job) {
  change(entry, { job });
  if (entry.cancelling) cancel(entry);
  follow();
}

function refused(entry, error) {
  if (entry.cancelling || !(error instanceof Problem)) {
    change(entry, { phase: "cancelled", cancelling: false });
  } else if (error.status === 429) {
    pausedUntil = Date.now() + error.retryAfterS * 1000;
    change(entry, { phase: "waiting", retryAt: pausedUntil, problem: error });
  } else {
    change(entry, { phase: "failed", problem: error });
  }
}

// Following

function follow() {
  if (!stream) {
    const active = entries.filter((entry) => entry.job && !isFinal(entry));
    const nearest = active.sort((a, b) => (a.job.position ?? 0) - (b.job.position ?? 0))[0];
    if (nearest) listen(nearest);
  }
  poll();
}

async function listen(entry) {
  const { id } = entry.job;
  const mine = stream = { id, abort: new AbortController() };
  let ended = false;
  try {
    for await (const job of events(id, mine.abort.signal)) {
      update(entry, job, null);
      // the server ends the stream now, which leaves the connection for the next one; hung up on only if it doesn't
      ended = FINAL.has(job.status);
      if (ended) setTimeout(() => mine.abort.abort(), HANG_UP_MS);
    }
    if (!ended) await sleep(1000); // ended early: not at once again
  } catch (error) {
    if (!mine.abort.signal.aborted) await trouble(entry, id, error);
  }
  stream = null;
  follow();
}

function poll() {
  clearTimeout(pollTimer);
  if (!due(Infinity).length) return;
  pollTimer = setTimeout(async () => {
    for (const entry of due(Date.now()).slice(0, POLL_AT_ONCE)) await ask(entry);
    poll();
  }, document.hidden ? POLL_HIDDEN_MS : POLL_MS);
}

/** Those to ask about: under way and not listened to, or past their end. */
function due(now) {
  return entries
    .filter((entry) => entry.job && entry.job.status !== "expired")
    .filter((entry) => isFinal(entry) ? Date.parse(entry.job.expires_at) < now : entry.job.id !== stream?.id)
    .sort((a, b) => a.asked - b.asked);
}

async function ask(entry) {
  if (!entry.job) return; // sent once more meanwhile
  const { id } = entry.job;
  entry.asked = Date.now();
  try {
    const { body, etag } = await call(`v1/jobs/${id}`, { etag: entry.etag });
    if (body) update(entry, body, etag);
  } catch (error) {
    await trouble(entry, id, error);
  }
}

async function trouble(entry, id, error) {
  if (error instanceof Problem && (error.status === 404 || error.status === 410)) gone(entry, id, error);
  else if (error instanceof Problem && error.status === 429) await sleep(error.retryAfterS * 1000);
  else if (error instanceof Problem && error.status !== 401) await sleep(POLL_HIDDEN_MS);
  else await overcome(error);
}

/** What comes late, after the picture was sent once more as another job, is not about that one. */
const isAbout = (entry, id) => entry.job?.id === id;

function update(entry, job, etag, note = entry.note) {
  if (isAbout(entry, job.id)) change(entry, { job, etag, note });
}

function gone(entry, id, problem) {
  if (isAbout(entry, id)) change(entry, { job: { ...entry.job, status: "expired", message: explain(problem), result: null }, note: explain(problem) });
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  for (const entry of entries) entry.asked = 0;
  poll();
});

// What the buttons do

/** @param {Entry} entry */
export async function cancel(entry) {
  if (!entry.job) {
    entry.cancelling = true;
    if (!entry.abort) return change(entry, { phase: "cancelled", cancelling: false });
    // what is fully sent may have become a job, which is then cancelled by its number
    if (entry.progress < 1) entry.abort();
    return change(entry, {});
  }
  change(entry, { cancelling: true });
  await end(entry);
  change(entry, { cancelling: false });
}

/** @param {Entry} entry */
export async function remove(entry) {
  await end(entry, t("deleted"));
}

/** The drawing's bytes; null where it is gone. @param {Entry} entry */
export async function fetchDrawing(entry) {
  const { id } = entry.job;
  try {
    return await steadily(async () => {
      try {
        return await (await result(id)).blob();
      } catch (error) {
        throw error instanceof TypeError ? new Away(error.message) : error; // broke off in the middle
      }
    });
  } catch (error) {
    await trouble(entry, id, error);
    return null;
  }
}

async function end(entry, note = "") {
  const { id } = entry.job;
  try {
    const { body } = await steadily(() => call(`v1/jobs/${id}`, { method: "DELETE" }));
    update(entry, body, null, note);
  } catch (error) {
    await trouble(entry, id, error);
  }
}

/** @param {Entry} entry */
export function retry(entry) {
  // where there was a job, its key would only bring that one back
  change(entry, { phase: "waiting", progress: 0, problem: null, note: "", turn: turns++, key: entry.job ? newId() : entry.key, job: null, cancelling: false, owner: tab });
  pump();
}

/** @param {Entry} entry */
export function dismiss(entry) {
  entries = entries.filter((other) => other !== entry);
  drop("jobs", entry.id);
  release(entry.photo);
}

// What this browser kept

/** @type {(entry: Entry) => void} */
let dismissed = () => {};
export const onDismissed = (listener) => { dismissed = listener; };

let reading = Promise.resolve();

/** Asks again for what was sent before a reload, or in another tab. */
export function restore() {
  reading = reading.then(readKept).catch(() => {});
  return reading;
}

async function readKept() {
  const kept = entries.filter((entry) => entry.kept && !isGone(entry));
  const records = await recall("jobs");
  const others = records.some((record) => !record.job && record.owner !== tab) ? await otherTabs() : new Set();
  turns = Math.max(turns, ...records.map((record) => record.turn + 1));
  for (const entry of kept.filter((one) => !isGone(one) && !records.some(({ id }) => id === one.id))) {
    entries = entries.filter((other) => other !== entry);
    dismissed(entry);
  }
  for (const { photo, job: id, until, ...record } of records) {
    const here = entries.find((entry) => entry.id === record.id);
    if (here?.job || (here && !id)) continue;
    if (!id && record.owner !== tab && !others.has(record.owner)) record.owner = tab; // that tab is closed
    const entry = here ?? entryOf({ ...record, kept: true, photo: photoWith(photo) });
    if (!id && !entry.photo) continue; // nothing to send
    if (id) {
      try {
        const { body, etag } = await steadily(() => call(`v1/jobs/${id}`));
        if (body.status === "expired") throw new Error(body.status);
        Object.assign(entry, { job: body, etag, heardAt: Date.now() });
      } catch {
        drop("jobs", record.id); // expired meanwhile
        continue;
      }
    }
    if (!here) entries = [...entries, entry].sort((a, b) => b.batch - a.batch || a.turn - b.turn);
    changed(entry, "");
    if (!here) showPhoto(entry);
  }
  pump();
  follow();
}

const isGone = (entry) => statusOf(entry) === "expired";

onOtherTab("jobs", restore);

/** The server's words in the language that was switched to. */
export async function retranslate() {
  stream?.abort.abort();
  for (const entry of entries.filter((one) => one.job && one.job.status !== "expired")) {
    entry.etag = null;
    await ask(entry);
  }
}
