import { h } from "./dom.js";
import { t } from "./i18n.js";

const START = 50;

/**
 * The photo left of a line, its drawing right of it; the line is a range input over the whole picture.
 * @param {string} before
 * @param {HTMLImageElement} after
 */
export function compare(before, after) {
  const input = h("input", {
    type: "range", min: "0", max: "100", step: "1", value: String(START), className: "compare-input", "data-testid": "compare",
  });
  const tags = [h("span", { className: "tag left", "aria-hidden": "true" }), h("span", { className: "tag right", "aria-hidden": "true" })];
  const photo = h("img", { className: "before", src: before, alt: "" });
  const element = h("div", { className: "compare reveal" }, after, photo, input, h("span", { className: "handle", "aria-hidden": "true" }), ...tags);

  const follow = () => {
    element.style.setProperty("--at", `${input.value}%`);
    input.setAttribute("aria-valuetext", t("compareValue", { percent: Number(input.value) }));
  };
  input.oninput = () => {
    element.classList.remove("reveal");
    follow();
  };

  // A range input lets fingers only drag its thumb (iOS); here the whole picture is the handle.
  const point = (event) => {
    const box = input.getBoundingClientRect();
    input.value = String(Math.round((event.clientX - box.left) / box.width * 100));
    input.oninput();
  };
  input.onpointerdown = (event) => {
    if (event.button) return;
    event.preventDefault();
    input.focus({ focusVisible: false });
    input.setPointerCapture(event.pointerId);
    point(event);
  };
  input.onpointermove = (event) => {
    if (input.hasPointerCapture(event.pointerId)) point(event);
  };

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
