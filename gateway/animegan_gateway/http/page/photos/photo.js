/** A photo as this browser sees it: decoded for the screen, and parts of it for trying styles. */

import { h } from "../base/dom.js";

const SHOWN_PX = 1600;
const LONG = 2; // times as long as wide: beyond it a limit on the longest side would leave a ribbon
const HEAD_HEIGHT = 0.35; // people's faces are above the middle

/**
 * @typedef {object} Photo
 * @property {string} id
 * @property {File} file
 * @property {string} name
 * @property {string | null} shown address of a version for the screen; null where this browser can't read the file
 * @property {{ width: number, height: number } | null} size upright; null like `shown`
 * @property {string} drawn the options it was last drawn with, as JSON; empty: it was not
 * @property {boolean} kept there is a record of it in this browser
 * @property {Promise<void>} ready
 */

// One after the other: a phone can't hold several decoded photos.
let decoding = Promise.resolve();

function inTurn(work) {
  const result = decoding.then(work);
  decoding = result.catch(() => {});
  return result;
}

const decode = (photo) => photo.file.type.startsWith("video/") ? firstFrame(photo.file)
  : createImageBitmap(photo.file, { imageOrientation: "from-image" });

async function firstFrame(file) {
  const film = h("video", { muted: true, preload: "auto", src: URL.createObjectURL(file) });
  try {
    await new Promise((resolve, reject) => Object.assign(film, { onloadeddata: resolve, onerror: reject }));
    return await createImageBitmap(film);
  } finally {
    URL.revokeObjectURL(film.src);
  }
}

/** @param {File} file @param {{ id: string, drawn?: string }} record @returns {Photo} */
export function photoOf(file, { id, drawn = "" }) {
  const photo = { id, file, name: file.name, shown: null, size: null, drawn, kept: false };
  photo.ready = inTurn(() => prepare(photo));
  return photo;
}

async function prepare(photo) {
  let picture;
  try {
    picture = await decode(photo);
    photo.size = { width: picture.width, height: picture.height };
    photo.shown = URL.createObjectURL(await pixels(picture, [0, 0, picture.width, picture.height], fit(photo.size, SHOWN_PX)));
  } catch {
    photo.shown = photo.size = null; // HEIC, for example, which few browsers read and the server does
  } finally {
    picture?.close();
  }
}

/** The size with its longer side at most `side` px, of a panorama with the pixels of such a square: as the server fits it. */
export function fit({ width, height }, side) {
  const longest = Math.max(width, height);
  const shortest = Math.min(width, height);
  if (longest > LONG * shortest) {
    if (longest * shortest <= side ** 2) return { width, height };
    const longer = Math.floor(Math.sqrt(side ** 2 * longest / shortest));
    const shorter = Math.max(1, Math.min(Math.floor((2 * shortest * longer + longest) / (2 * longest)), Math.floor(side ** 2 / longer)));
    return width === longest ? { width: longer, height: shorter } : { width: shorter, height: longer };
  }
  if (longest <= side) return { width, height };
  const scaled = (length) => Math.max(1, Math.floor((2 * length * side + longest) / (2 * longest)));
  return { width: scaled(width), height: scaled(height) };
}

/**
 * A part of the photo near its middle, as large as it will be drawn, as a JPEG of at most `width` by `height` px.
 * @param {Photo} photo @param {number} side the longest side of the drawing, in px
 */
export const crop = (photo, side, { width, height }) => inTurn(async () => {
  const picture = await decode(photo);
  try {
    const whole = fit(picture, side);
    const part = { width: Math.min(width, whole.width), height: Math.min(height, whole.height) };
    const scale = picture.width / whole.width;
    const [across, down] = [part.width * scale, part.height * scale];
    return await pixels(picture, [(picture.width - across) / 2, (picture.height - down) * HEAD_HEIGHT, across, down], part);
  } finally {
    picture.close();
  }
});

function pixels(picture, [x, y, across, down], { width, height }) {
  const canvas = h("canvas", { width, height });
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.fillStyle = "#fff"; // the server draws what is transparent on white, too
  context.fillRect(0, 0, width, height);
  context.drawImage(picture, x, y, across, down, 0, 0, width, height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
}
