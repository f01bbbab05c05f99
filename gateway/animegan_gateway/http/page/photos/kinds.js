/** What a file is, by its first bytes: whether the server can read it at all. */

const HEAD_BYTES = 64;
const PICTURES = [
  /^\xff\xd8\xff/, /^\x89PNG/, /^GIF8/, /^RIFF[^]{4}WEBP/, /^BM/, /^(II\*\0|MM\0\*|II\+\0|MM\0\+)/,
  /^[^]{4}ftyp(hei|hev|mif1|msf1|avi[fs]|jpeg)/, /^[^]{4}ftyp(?!crx|M4A)/, /^[^]{4}(moov|mdat|wide|free|skip)/, /^\x1a\x45\xdf\xa3/, /^\0\0\0\x0cjP {2}/, /^\xff\x4f\xff\x51/, /^\0\0\x01\0/, /^P[1-6]\s/,
];
const OTHERS = [
  ["pdf", /^%PDF/], ["psd", /^8BPS/], ["postscript", /^%!PS/], ["jxl", /^(\xff\x0a|\0\0\0\x0cJXL )/],
  ["video", /^(RIFF[^]{4}AVI |\0\0\x01[\xb3\xba]|FLV\x01|OggS)/],
  ["audio", /^(ID3|fLaC|RIFF[^]{4}WAVE|\xff[\xf2\xf3\xfb])/],
  ["archive", /^(PK\x03\x04|\x1f\x8b|7z\xbc\xaf|Rar!|\xfd7zXZ)/],
  ["html", /^\s*<(!doctype html|html)/i], ["svg", /^\s*(<\?xml[^]*)?<svg/i], ["json", /^\s*[{[]/],
  ["text", /^[\t\n\r\x20-\x7e\x80-\xff]+$/],
];

/**
 * "picture" where the server may well read it, which alone has the last word; else what it is, "" where that is unclear.
 * @param {File} file
 */
export async function kindOf(file) {
  const bytes = new Uint8Array(await file.slice(0, HEAD_BYTES).arrayBuffer());
  const head = String.fromCharCode(...bytes);
  if (PICTURES.some((pattern) => pattern.test(head))) return "picture";
  return OTHERS.find(([, pattern]) => pattern.test(head))?.[0] ?? "";
}
