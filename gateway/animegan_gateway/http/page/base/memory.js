/**
 * What this browser keeps of photos and jobs, so that a reload or a second tab forgets nothing: in IndexedDB, each
 * record until the server deletes its picture. Where a browser keeps nothing, the page remembers until it is closed.
 */

import { newId } from "./ids.js";

const NAME = "animegan";
const STORES = ["photos", "jobs"];
const ANSWER_MS = 250;

/** @typedef {"photos" | "jobs"} Store */

/** This tab, and after a reload still this tab. */
export const tab = (() => {
  const fresh = newId();
  try {
    const own = sessionStorage.getItem(NAME) ?? fresh;
    sessionStorage.setItem(NAME, own);
    return own;
  } catch {
    return fresh;
  }
})();

const channel = "BroadcastChannel" in globalThis ? new BroadcastChannel(NAME) : null;
/** @type {Promise<IDBDatabase | null> | null} */
let opening = null;

const done = (request) => new Promise((resolve, reject) => {
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
});

function database() {
  opening ??= (async () => {
    try {
      const request = indexedDB.open(NAME, 1);
      request.onupgradeneeded = () => {
        for (const store of STORES) request.result.createObjectStore(store, { keyPath: "id" });
      };
      return await done(request);
    } catch {
      return null;
    }
  })();
  return opening;
}

async function within(store, mode, work) {
  try {
    const opened = await database();
    return opened && await done(work(opened.transaction(store, mode).objectStore(store)));
  } catch {
    return null; // full, or closed by the browser: the page goes on without
  }
}

/** Keeps the record, in place of one of its id. Tells whether that could be. @param {Store} store @param {{ id: string, until: number }} record */
export async function keep(store, record) {
  const id = await within(store, "readwrite", (records) => records.put(record));
  channel?.postMessage({ changed: store });
  return id !== null;
}

/** @param {Store} store @param {string} id */
export async function drop(store, id) {
  await within(store, "readwrite", (records) => records.delete(id));
  channel?.postMessage({ changed: store });
}

/** All records whose time is not over; the others are deleted. @param {Store} store @returns {Promise<any[]>} */
export async function recall(store) {
  const records = await within(store, "readonly", (all) => all.getAll()) ?? [];
  for (const record of records) if (record.until < Date.now()) await drop(store, record.id);
  return records.filter((record) => record.until >= Date.now());
}

export async function forgetAll() {
  for (const store of STORES) await within(store, "readwrite", (records) => records.clear());
  for (const store of STORES) channel?.postMessage({ changed: store });
}

/** Calls `listener` after another tab changed what is kept. @param {Store} store @param {() => void} listener */
export function onOtherTab(store, listener) {
  let timer = 0;
  channel?.addEventListener("message", ({ data }) => {
    if (data.changed !== store) return;
    clearTimeout(timer);
    timer = setTimeout(listener, ANSWER_MS);
  });
}

/** The other tabs of this page that are open. @returns {Promise<Set<string>>} */
export async function otherTabs() {
  const others = new Set();
  if (!channel) return others;
  const hear = ({ data }) => { if (data.here) others.add(data.here); };
  channel.addEventListener("message", hear);
  channel.postMessage({ who: tab });
  await new Promise((resolve) => setTimeout(resolve, ANSWER_MS));
  channel.removeEventListener("message", hear);
  others.delete(tab);
  return others;
}

channel?.addEventListener("message", ({ data }) => {
  if (data.who) channel.postMessage({ here: tab });
});
