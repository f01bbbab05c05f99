/** How far a job is by now: the server's last word, and the time since. */

import { t } from "../base/i18n.js";

const COARSE_FROM_S = 10; // from here on the estimate is no more precise than this

/** @param {import("./jobs.js").Entry} entry @returns {{ percent: number, seconds: number } | null} */
export function headway(entry) {
  const { status, eta_s: eta, progress } = entry.job ?? {};
  if (status !== "running" || eta == null || progress == null) return null;
  const left = Math.max(0, eta - (Date.now() - entry.heardAt) / 1000);
  const whole = progress < 1 ? eta / (1 - progress) : 0;
  return { percent: whole ? Math.min(99, Math.floor(100 * (1 - left / whole))) : 99, seconds: left };
}

const round = (seconds) => seconds < COARSE_FROM_S ? Math.max(1, Math.round(seconds)) : 5 * Math.round(seconds / 5);

/** Where a job stands, in words that count down; null where the server has no estimate. */
export function standing(entry) {
  const { status, eta_s: eta, ahead } = entry.job;
  if (eta == null) return null;
  const now = headway(entry);
  if (now) return t("running", { percent: now.percent, seconds: now.seconds > 0.5 ? round(now.seconds) : 0 });
  if (status !== "queued" || ahead == null) return null;
  const seconds = round(Math.max(0, eta - (Date.now() - entry.heardAt) / 1000));
  return t("queued", { ahead, seconds });
}
