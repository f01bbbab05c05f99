import { h } from "../base/dom.js";
import { t } from "../base/i18n.js";

const START = 50;

/**
 * The photo left of a line, its drawing right of it. Only the line is dragged: the pictures themselves stay free to be
 * opened, or saved by a long press.
 * @param {string} before
 * @param {HTMLImageElement} after
 */
export function compare(before, after) {
  const input = h("input", {
    type: "range", min: "0", max: "100", step: "1", value: String(START), className: "compare-input", "data-testid": "compare",
  });
  const handle = h("span", { className: "handle", "aria-hidden": "true" });
  const tags = [h("span", { className: "tag left", "aria-hidden": "true" }), h("span", { className: "tag right", "aria-hidden": "true" })];
  const photo = h("img", { className: "before", src: before, alt: "" });
  const element = h("div", { className: "compare reveal" }, after, photo, input, handle, ...tags);

  const follow = () => {
    element.style.setProperty("--at", `${input.value}%`);
    input.setAttribute("aria-valuetext", t("compareValue", { percent: Number(input.value) }));
  };
  input.oninput = () => {
    element.classList.remove("reveal");
    follow();
  };
  handle.onpointerdown = (event) => {
    if (event.button) return;
    event.preventDefault();
    input.focus({ focusVisible: false });
    handle.setPointerCapture(event.pointerId);
  };
  handle.onpointermove = (event) => {
    if (!handle.hasPointerCapture(event.pointerId)) return;
    const box = element.getBoundingClientRect();
    input.value = String(Math.round((event.clientX - box.left) / box.width * 100));
    input.oninput();
  };
  handle.onclick = (event) => event.stopPropagation(); // the end of a drag opens nothing

  return {
    element,
    translate() {
      input.setAttribute("aria-label", t("compare"));
      tags[0].textContent = t("photo");
      tags[1].textContent = t("result");
      follow();
    },
  };
}
