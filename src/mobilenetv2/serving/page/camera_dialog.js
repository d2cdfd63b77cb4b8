// The dialog of the camera: takes photos, and answers live on this device while it looks.

import { answerWords, bars, doubtWords } from "./bars.js";
import { best, probabilities } from "./outputs.js";
import { inputOf } from "./photos.js";
import { jpegFile } from "./pixels.js";
import { button, element, setText } from "./teach_elements.js";
import { say } from "./words.js";

/**
 * @typedef {import("./device.js").Model} Model
 * @typedef {{frame: () => import("./resize.js").Pixels, flip: () => Promise<void>,
 *   close: () => void}} Camera
 * @typedef {object} Page
 * @property {(video: HTMLVideoElement) => Promise<Camera>} openCamera
 * @property {() => Model} model the chosen model
 * @property {() => Promise<any>} device it, in this browser
 * @property {() => any} taught what was taught; null if nothing was
 * @property {(files: File[]) => void} add
 * @property {number} threshold
 */

/** Answers of which the rate is the mean, and milliseconds between two that are spoken. */
const LAST = 10;
const SPOKEN = 3000;

let taken = 0;

/**
 * Open the dialog.
 * @param {Page} page
 * @param {boolean} startsLive true if it answers live at once
 */
export function cameraDialog(page, startsLive) {
  const model = page.model();
  const taught = page.taught()?.model === model.name ? page.taught() : null;
  const video = element("video", { muted: true, playsInline: true, autoplay: true });
  video.ariaLabel = say("camera.picture");
  const title = element("h2", { id: "camera-title" }, say("camera.title"));
  const told = element("p", { role: "status", className: "hint" });
  const alert = element("p", { role: "alert", className: "bad" });
  const take = button(say("camera.take"), () => attempt(takePhoto));
  take.className = "main";
  const stop = button(say("camera.close"), () => dialog.close());
  const flip = button(say("camera.flip"), () => attempt(() => camera?.flip()));
  const live = element("input", { type: "checkbox", role: "switch", id: "camera-live" });
  const label = element("label", { htmlFor: live.id }, say("camera.live"));
  const source = sourceChoice(model, taught);
  const rate = element("span", { className: "time" });
  const answers = element("div", { className: "live-answers" });
  answers.role = "group";
  answers.ariaLabel = say("camera.answers");
  const spoken = element("p", { role: "status", className: "unseen" });
  const panel = element("div", { className: "live", hidden: true }, source.root, answers, rate);
  const switches = element("div", { className: "switch", hidden: !model.device }, live, label);
  const viewfinder = element("div", { className: "viewfinder" }, video);
  const dialog = element(
    "dialog",
    { className: "camera" },
    title,
    viewfinder,
    element("div", { className: "row" }, take, flip, stop),
    switches,
    panel,
    told,
    alert,
    spoken,
  );
  dialog.setAttribute("aria-labelledby", title.id);

  /** @type {Camera | null} */
  let camera = null;
  let count = 0;
  let looking = false;

  dialog.addEventListener("close", () => {
    camera?.close();
    camera = null;
    dialog.remove();
  });
  live.addEventListener("change", () => attempt(look));

  /** Run what a control does; a fault becomes a sentence. @param {() => unknown} work */
  async function attempt(work) {
    alert.textContent = "";
    try {
      await work();
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      if (dialog.isConnected) setText(alert, text);
    }
  }

  async function start() {
    let opened;
    try {
      opened = await page.openCamera(video);
    } catch (error) {
      // Without a camera nothing can be done here but to close the dialog.
      for (const part of [viewfinder, take, flip, switches, panel]) part.hidden = true;
      throw error;
    }
    if (!dialog.open) return opened.close(); // closed while the browser asked for permission
    camera = opened;
    await look();
  }

  async function takePhoto() {
    if (!camera) throw new Error(say("camera.notReady"));
    const pixels = camera.frame();
    const name = `${say("camera.name", { n: ++taken })}.jpg`;
    page.add([await jpegFile(pixels, name)]);
    setText(told, say("camera.taken", { n: ++count }));
  }

  /** Answer what the camera sees, until that is switched off or the dialog is closed. */
  async function look() {
    panel.hidden = !live.checked;
    if (looking || !live.checked || !camera) return;
    looking = true;
    try {
      setText(told, say("device.loading"));
      const device = await page.device().finally(() => setText(told, ""));
      let last = 0;
      /** @type {number[]} */
      const times = [];
      while (live.checked && camera && dialog.open) {
        const began = performance.now();
        const predictions = await answerOf(device, camera.frame(), source.taught());
        if (!dialog.open || !live.checked) break;
        show(predictions);
        times.push(performance.now() - began);
        if (times.length > LAST) times.shift();
        const mean = times.reduce((sum, ms) => sum + ms, 0) / times.length;
        setText(rate, say("camera.rate", { rate: (1000 / mean).toFixed(mean < 200 ? 0 : 1) }));
        if (performance.now() - last > SPOKEN) {
          last = performance.now();
          setText(spoken, answerWords(predictions, page.threshold));
        }
        await new Promise((resolve) => requestAnimationFrame(resolve)); // the page has a turn
      }
    } finally {
      looking = false;
    }
  }

  /** @param {import("./server.js").Prediction[]} predictions */
  function show(predictions) {
    const doubt = doubtWords(predictions, page.threshold);
    const words = element("p", { className: "unsure" }, doubt);
    answers.replaceChildren(bars(predictions, null), ...(doubt ? [words] : []));
  }

  live.checked = startsLive && Boolean(model.device);
  panel.hidden = !live.checked;
  document.body.append(dialog);
  dialog.showModal();
  attempt(start);
  return { close: () => dialog.close() };
}

/**
 * Return the most probable classes of what a camera sees.
 * @param {any} device
 * @param {import("./resize.js").Pixels} pixels
 * @param {any} taught what was taught with this device's model; null for the model itself
 */
async function answerOf(device, pixels, taught) {
  const { model } = device;
  const { logits, features } = await device.run(inputOf(pixels, model));
  if (taught) {
    const found = taught.answer(features);
    return best(found.probabilities, "softmax", found.labels);
  }
  return best(probabilities(logits, model.outputs), model.outputs, model.labels);
}

/**
 * Return the choice between a model and what was taught with it.
 * @param {Model} model
 * @param {any} taught
 */
function sourceChoice(model, taught) {
  const select = element(
    "select",
    { id: "camera-source" },
    element("option", { value: "model" }, say("camera.sourceModel", { model: model.name })),
    element("option", { value: "taught" }, say("camera.sourceTaught")),
  );
  select.value = taught ? "taught" : "model";
  const label = element("label", { htmlFor: select.id }, say("camera.source"));
  const root = element("div", { className: "row source", hidden: !taught }, label, select);
  return { root, taught: () => (taught && select.value === "taught" ? taught : null) };
}
