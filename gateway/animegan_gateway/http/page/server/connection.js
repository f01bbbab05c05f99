import { announce } from "../base/announce.js";
import { at, Away, Problem } from "./api.js";
import { $, sleep } from "../base/dom.js";
import { onLanguage, t } from "../base/i18n.js";

const SOONEST_MS = 1000;
const LATEST_MS = 10_000;
const QUIET_MS = 1500; // a hiccup shorter than this is not worth a word

/** @type {Promise<void> | null} */
let outage = null;

/** Resolves once the server answers again; meanwhile the page says so. */
export function lost() {
  outage ??= waitForReturn().finally(() => { outage = null; });
  return outage;
}

async function waitForReturn() {
  const notice = $("offline");
  const shown = setTimeout(() => {
    notice.hidden = false;
    announce(t("away"));
  }, QUIET_MS);
  for (let pause = SOONEST_MS; ; pause = Math.min(pause * 1.6, LATEST_MS)) {
    await Promise.race([sleep(pause), new Promise((wake) => addEventListener("online", wake, { once: true }))]);
    if (await answers()) break;
  }
  clearTimeout(shown);
  if (!notice.hidden) announce(t("back"));
  notice.hidden = true;
}

async function answers() {
  try {
    const response = await fetch(at("readyz"), { cache: "no-store", signal: AbortSignal.timeout(LATEST_MS) });
    return response.status < 500;
  } catch {
    return false;
  }
}

/** @type {() => Promise<void>} */
let signIn = async () => {};

/** What to do where the server no longer knows who this is. */
export function onUnauthorized(handler) {
  signIn = handler;
}

/**
 * Does `work` until it succeeds or fails for good: a server that is away, or that asks who this is, is waited for.
 * @template T
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function steadily(work) {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      await overcome(error);
    }
  }
}

/** Waits until it makes sense to try again, or throws the error where it never does. */
export async function overcome(error) {
  if (error instanceof Away) await lost();
  else if (error instanceof Problem && error.status === 401) await signIn();
  else throw error;
}

onLanguage(() => { $("offline").textContent = t("away"); });
