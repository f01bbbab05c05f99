/** The first questions of every visit, asked while the page's own script is still on its way: `api.js` takes the answers. */

import { locale } from "./base/language.js";

const ask = (path) => fetch(new URL(path, document.baseURI), { headers: { "Accept-Language": locale() }, cache: "no-store" });

globalThis.asked ??= new Map(["v1/session", "v1/styles"].map((path) => [path, ask(path)])); // unless the page was faster
for (const answer of globalThis.asked.values()) answer.catch(() => {}); // whoever takes it is told
