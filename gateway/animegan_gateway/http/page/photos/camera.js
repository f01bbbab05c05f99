import { $, h } from "../base/dom.js";
import { t } from "../base/i18n.js";

/**
 * Phones have a camera of their own behind a file input; elsewhere a small dialog, where there is a camera.
 * @param {(files: File[]) => void} taken
 */
export async function offerCamera(taken) {
  if (matchMedia("(pointer: coarse)").matches) {
    $("shoot").hidden = $("shoot-label").hidden = false;
    return;
  }
  const devices = await navigator.mediaDevices?.enumerateDevices().catch(() => []) ?? [];
  if (!devices.some((device) => device.kind === "videoinput")) return;
  const dialog = $("camera");
  const viewfinder = $("viewfinder");
  let turned = 0;

  const stop = () => {
    for (const track of viewfinder.srcObject?.getTracks() ?? []) track.stop();
    viewfinder.srcObject = null;
    $("camera-shoot").disabled = true; // until there is something to take
  };
  const start = async () => {
    stop();
    $("camera-error").textContent = "";
    try {
      // the names of the cameras are known only once one was allowed
      const cameras = (await navigator.mediaDevices.enumerateDevices()).filter((device) => device.kind === "videoinput" && device.deviceId);
      const deviceId = cameras[turned % (cameras.length || 1)]?.deviceId;
      const stream = await navigator.mediaDevices.getUserMedia({ video: { deviceId, width: { ideal: 1920 }, height: { ideal: 1440 } } });
      viewfinder.srcObject = stream;
      if (!dialog.open) stop();
      else {
        await viewfinder.play();
        $("camera-shoot").disabled = false;
      }
      $("camera-turn").hidden = cameras.length < 2;
    } catch {
      $("camera-error").textContent = t("noCamera");
    }
  };

  $("camera-open").hidden = false;
  $("camera-open").onclick = () => {
    dialog.showModal();
    start();
  };
  $("camera-turn").onclick = () => {
    turned += 1;
    start();
  };
  $("camera-close").onclick = () => dialog.close();
  dialog.onclose = stop;
  $("camera-shoot").onclick = () => {
    const canvas = h("canvas", { width: viewfinder.videoWidth, height: viewfinder.videoHeight });
    canvas.getContext("2d").drawImage(viewfinder, 0, 0);
    const moment = new Date().toTimeString().slice(0, 8).replaceAll(":", "");
    canvas.toBlob((blob) => taken([new File([blob], `${t("cameraPhoto")}-${moment}.jpg`, { type: blob.type })]), "image/jpeg", 0.95);
    dialog.close();
  };
}
