/** A drawing on its way to other apps: the phone's own sheet for sharing, or the clipboard. */

import { h } from "../base/dom.js";

const fileOf = (drawing, name) => new File([drawing], name, { type: drawing.type });

export function canShare(name, type) {
  return Boolean(navigator.canShare?.({ files: [new File([""], name, { type })] }));
}

/** Returns the key of the text that says how it went, or nothing. */
export async function share(drawing, name) {
  try {
    await navigator.share({ files: [fileOf(drawing, name)] });
    return "";
  } catch (error) {
    // fetching took longer than the browser lets a click count; the drawing is here for the next one
    return error.name === "NotAllowedError" ? "shareAgain" : error.name === "AbortError" ? "" : "shareFailed";
  }
}

export const canCopy = () => Boolean(navigator.clipboard?.write && globalThis.ClipboardItem);

/** As a PNG, which is what clipboards take. */
export async function copy(drawing) {
  try {
    await navigator.clipboard.write([new ClipboardItem({ "image/png": png(drawing) })]);
    return "copied";
  } catch {
    return "copyFailed";
  }
}

async function png(drawing) {
  if (drawing.type === "image/png") return drawing;
  const picture = await createImageBitmap(drawing);
  const canvas = h("canvas", { width: picture.width, height: picture.height });
  canvas.getContext("2d").drawImage(picture, 0, 0);
  picture.close();
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}
