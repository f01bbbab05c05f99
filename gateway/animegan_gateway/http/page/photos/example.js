/** What a first visit shows: the server's sample photo and its drawing, to be compared and tried. */

import { at } from "../server/api.js";
import { compare } from "../shelf/compare.js";
import { $, h, say } from "../base/dom.js";
import { onLanguage, t } from "../base/i18n.js";
import { photosOnTable, takeIn } from "./photos.js";
import { selectedStyle, sampleOf } from "../styles/styles.js";

const SAMPLE = "page/images/sample.jpg";
const NAME = "aizkorri.jpg";

let shown = "";

/** @param {boolean} visited there are drawings already, so it says nothing new */
export async function renderExample(visited) {
  const example = $("example");
  example.hidden = visited || photosOnTable().photos.length > 0;
  const style = selectedStyle();
  if (example.hidden || !style || shown === style) return;
  shown = style;
  const source = await sampleOf(style);
  if (!source || shown !== style) return;
  const slider = compare(at(SAMPLE), h("img", { className: "after", src: source, alt: "", width: 448, height: 298 }));
  slider.translate();
  $("example-picture").replaceChildren(slider.element);
  onLanguage(slider.translate);
}

export function openExample() {
  $("try-sample").onclick = async () => {
    const answer = await fetch(at(SAMPLE));
    await takeIn([new File([await answer.blob()], NAME, { type: "image/jpeg" })]);
  };
  onLanguage(() => {
    say($("example-title"), t("exampleTitle"));
    say($("try-sample"), t("trySample"));
  });
}
