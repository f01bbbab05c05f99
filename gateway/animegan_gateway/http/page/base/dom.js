/** The element with this id. */
export const $ = (/** @type {string} */ id) => /** @type {any} */ (document.getElementById(id));

/**
 * A new element: `h("button", { type: "button", onclick }, "Cancel")`.
 * Names with a dash and `role` become attributes, all others properties.
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

/** Sets the text only where it differs, so that nothing blinks and nothing is read out twice. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export const sleep = (/** @type {number} */ ms) => new Promise((resolve) => setTimeout(resolve, ms));

export const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** Saves a blob as a file. */
export function save(/** @type {Blob} */ blob, /** @type {string} */ name) {
  const href = URL.createObjectURL(blob);
  h("a", { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), 60_000); // the browser has taken over long before
}
