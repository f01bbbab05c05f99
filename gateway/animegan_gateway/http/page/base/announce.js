import { $ } from "./dom.js";

let waiting = [];

/** Says it to screen readers, politely; what comes within a moment is said together. */
export function announce(text) {
  waiting.push(text);
  if (waiting.length > 1) return;
  setTimeout(() => {
    $("announcer").textContent = waiting.slice(-4).join(" ");
    waiting = [];
  }, 300);
}
