import { $, say } from "./base/dom.js";
import { offerCamera } from "./photos/camera.js";
import { draw, drawInAllStyles, renderDraw } from "./jobs/draw.js";
import { openExample, renderExample } from "./photos/example.js";
import { onLanguage, switchLanguage, t, translatePage } from "./base/i18n.js";
import { allEntries, isFinal, restore, retranslate } from "./jobs/jobs.js";
import { chosenOptions, chosenSide, fitOptions, onOptions, openOptions } from "./styles/options.js";
import { onPhotos, openTable, photosOnTable, recallPhotos, takeIn } from "./photos/photos.js";
import { openSession, session, signOut } from "./server/session.js";
import { openShelf, renderAll, showCard } from "./shelf/shelf.js";
import { renderSize } from "./photos/size.js";
import { loadStyles, selectedStyle, showStrength, stopTrying, styleOf, tryStyles } from "./styles/styles.js";

function tryOn() {
  const { current: photo } = photosOnTable();
  const subject = photo ? { photo, side: chosenSide(), detail: $("detail").value } : null;
  tryStyles(subject, !allEntries().every(isFinal));
}

function render() {
  renderDraw();
  renderSize();
  renderExample(allEntries().length > 0);
  showStrength(chosenOptions().strength);
}

function ask(way) {
  stopTrying();
  showCard(way());
  render();
}

const followStyle = () => {
  fitOptions(styleOf(selectedStyle()));
  render();
};

onLanguage(() => {
  translatePage();
  say($("language"), t("otherLanguage"));
  $("language").lang = t("otherLanguage") === "English" ? "en" : "zh-CN";
});
$("language").onclick = async () => {
  switchLanguage();
  if (!session.limits) return;
  await loadStyles();
  followStyle();
  renderAll();
  await retranslate();
};
$("sign-out").onclick = signOut;
$("studio").hidden = false;
openTable(); // photos can be chosen before the server has said anything

const [styles] = await Promise.allSettled([loadStyles(), openSession()]);
if (styles.status === "rejected") await loadStyles();
openShelf(() => {
  render();
  tryOn();
});
openOptions(session.limits);
openExample();
offerCamera(takeIn);
onPhotos(() => {
  render();
  tryOn();
});
onOptions(() => {
  render();
  tryOn();
});
onLanguage(() => {
  say($("kept"), t("kept", { seconds: session.keep_s }));
  render();
});
$("panel").onsubmit = (event) => {
  event.preventDefault();
  ask(draw);
};
$("all-styles").onclick = () => ask(drawInAllStyles);
$("styles").addEventListener("change", followStyle);
followStyle();
tryOn();
document.body.dataset.ready = "yes";
await recallPhotos();
await restore();
