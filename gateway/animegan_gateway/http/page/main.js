import { $, say } from "./dom.js";
import { offerCamera } from "./camera.js";
import { onLanguage, switchLanguage, t, translatePage } from "./i18n.js";
import { allEntries, drawAll, isFinal, restore, retranslate } from "./jobs.js";
import { chosenOptions, fitOptions, openOptions } from "./options.js";
import { markDrawn, onPhotos, openTable, photosOnTable, takeIn } from "./photos.js";
import { openSession, session, signOut } from "./session.js";
import { openShelf, renderAll, showCard } from "./shelf.js";
import { loadStyles, selectedStyle, stopTrying, styleOf, tryStyles } from "./styles.js";

function renderDraw() {
  const { photos, drawn } = photosOnTable();
  const n = photos.length;
  $("draw").disabled = !n || !selectedStyle();
  say($("draw"), n ? t(drawn ? "drawAgain" : "draw", { n }) : t("drawNothing"));
  $("panel").classList.toggle("ready", n > 0);
}

const tryOn = () => tryStyles(photosOnTable().current, !allEntries().every(isFinal));

function draw(event) {
  event.preventDefault();
  const { photos } = photosOnTable();
  stopTrying();
  const [first] = drawAll(photos, { style: selectedStyle(), ...chosenOptions() });
  markDrawn();
  showCard(first);
}

const followStyle = () => fitOptions(styleOf(selectedStyle()));

onLanguage(() => {
  translatePage();
  say($("language"), t("otherLanguage"));
  $("language").lang = t("otherLanguage") === "English" ? "en" : "zh-CN";
  renderDraw();
});
$("language").onclick = async () => {
  switchLanguage();
  if (!session?.signed_in) return;
  await loadStyles();
  followStyle();
  renderAll();
  await retranslate();
};
$("sign-out").onclick = signOut;

await openSession();
openTable();
openShelf(tryOn);
openOptions(session.limits);
offerCamera(takeIn);
onPhotos(() => {
  renderDraw();
  tryOn();
});
onLanguage(() => say($("kept"), t("kept", { seconds: session.keep_s })));
$("panel").onsubmit = draw;
$("styles").addEventListener("change", followStyle);
await loadStyles();
followStyle();
renderDraw();
$("studio").hidden = false;
await restore();
