/** What the browser's tab tells of the pictures on their way, and a notification of their end to those who want one. */

import { $, say } from "../base/dom.js";
import { onLanguage, t } from "../base/i18n.js";
import { allEntries, isFinal } from "./jobs.js";
import { headway } from "./waiting.js";

const STORED = "animegan.notify";
const EVERY_MS = 1000;

/** @type {Set<import("./jobs.js").Entry>} those since there was last nothing to do */
const batch = new Set();
let ended = "";
let timer = 0;

const possible = () => "Notification" in globalThis && isSecureContext && Notification.permission !== "denied";

function wanted() {
  try {
    return localStorage.getItem(STORED) === "yes" && Notification.permission === "granted";
  } catch {
    return false;
  }
}

/** After each change of a job. */
export function followTab() {
  clearTimeout(timer);
  const active = allEntries().filter((entry) => !isFinal(entry));
  for (const entry of active) batch.add(entry);
  for (const entry of batch) if (!allEntries().includes(entry)) batch.delete(entry);
  if (active.length) {
    ended = "";
    timer = setTimeout(followTab, EVERY_MS);
  } else if (batch.size) {
    finish(batch.size);
    batch.clear();
  }
  render(active);
}

function finish(n) {
  if (!document.hidden) return;
  ended = t("tabEnded", { n });
  if (!wanted()) return;
  try {
    const notice = new Notification(ended, { tag: STORED });
    notice.onclick = () => {
      focus();
      notice.close();
    };
  } catch {
    // Android's browsers let only service workers notify
  }
}

function render(active) {
  const button = $("notify");
  button.hidden = !active.length || !possible();
  button.setAttribute("aria-pressed", String(!button.hidden && wanted()));
  const done = batch.size - active.length;
  const percent = batch.size === 1 ? headway(active[0])?.percent : undefined;
  const lead = ended || (active.length && (percent == null ? t("tabOf", { i: done, n: batch.size }) : `${percent} %`));
  const title = lead ? `${lead} · ${t("shortTitle")}` : t("title");
  if (document.title !== title) document.title = title;
}

export function openTab() {
  $("notify").onclick = async () => {
    const yes = !wanted() && await Notification.requestPermission() === "granted";
    try {
      localStorage.setItem(STORED, yes ? "yes" : "no");
    } catch {
      // then not for the next time
    }
    followTab();
  };
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) ended = "";
    followTab();
  });
  onLanguage(() => {
    say($("notify"), t("notify"));
    followTab();
  });
}
