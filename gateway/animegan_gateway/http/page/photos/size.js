/** How large the photo on the table will be drawn, said before it is. */

import { $, say } from "../base/dom.js";
import { t } from "../base/i18n.js";
import { chosenSide } from "../styles/options.js";
import { fit } from "./photo.js";
import { photosOnTable } from "./photos.js";

export function renderSize() {
  const size = photosOnTable().current?.size;
  const drawn = size && fit(size, chosenSide());
  const text = !drawn ? "" : t(drawn.width === size.width ? "sizeKept" : "sizeFitted", drawn);
  say($("size"), text);
  $("size").hidden = !text;
}
