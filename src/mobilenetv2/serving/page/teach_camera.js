// Dialogs with a camera for teaching: photos of a class, and answers as it looks.
//
// The viewfinder belongs to a dialog with a stop button. The camera ends with the dialog, however
// that is closed, so that no camera runs unseen.

import { taughtDoubt } from "./bars.js";
import { button, element, setText, showAnswer } from "./teach_elements.js";

/**
 * @typedef {import("./teach.js").Teacher} Teacher
 * @typedef {import("./teach.js").Class} Class
 * @typedef {{frame: () => any, flip?: () => any, close: () => void}} Camera
 * @typedef {object} Tools
 * @property {Teacher} teacher
 * @property {(video: HTMLVideoElement) => Promise<Camera> | Camera} openCamera
 * @property {(key: string, values?: object) => string} say
 * @property {number} threshold least probability of an answer that is sure
 * @property {(error: unknown) => void} report says what went wrong
 */

/** Milliseconds between two photos while the button is held. */
const BETWEEN = 200;
/** Quality of the JPEGs that photos of the camera are kept as. */
const QUALITY = 0.95;

/**
 * Take photos of a class while a button is held.
 * @param {HTMLElement} section
 * @param {Tools} tools
 * @param {Class} one
 */
export function collect(section, tools, one) {
  const { say, teacher } = tools;
  const taken = element("p", { role: "status" });
  const hold = button(say("teach.hold"), () => {});
  hold.classList.add("teach-hold");
  const dialog = cameraDialog(section, tools, say("teach.cameraNamed", { name: one.name }), [
    hold,
    taken,
  ]);
  let held = false;
  let running = false;
  let count = 0;
  async function take() {
    held = true;
    if (running) return;
    running = true;
    try {
      do {
        const blob = await jpeg(dialog.camera().frame());
        const name = `${one.name} ${++count}.jpg`;
        teacher.addPhotos(one, [{ name, blob }]).catch(tools.report);
        setText(taken, say("teach.taken", { n: count }));
        await new Promise((resolve) => setTimeout(resolve, BETWEEN));
      } while (held && dialog.isOpen());
    } catch (error) {
      dialog.fail(error);
    } finally {
      running = false;
    }
  }
  const stop = () => (held = false);
  hold.addEventListener("pointerdown", (event) => {
    hold.setPointerCapture(event.pointerId);
    take();
  });
  for (const kind of ["pointerup", "pointercancel", "blur", "keyup"]) {
    hold.addEventListener(kind, stop);
  }
  hold.addEventListener("contextmenu", (event) => event.preventDefault()); // a long touch
  hold.addEventListener("keydown", (event) => {
    if (event.key !== " " && event.key !== "Enter") return;
    event.preventDefault();
    take();
  });
  hold.addEventListener("click", (event) => {
    // A click without a pointer is that of an assistive tool: one photo.
    if (event.detail === 0) take().then(stop, tools.report);
    stop();
  });
  return dialog;
}

/**
 * Show what the taught head answers while the camera looks.
 * @param {HTMLElement} section
 * @param {Tools} tools
 */
export function tryLive(section, tools) {
  const { say, teacher, threshold } = tools;
  const bars = element("div", { className: "teach-bars", ariaLabel: say("teach.answers") });
  bars.role = "group";
  const dialog = cameraDialog(section, tools, say("teach.tryCamera"), [bars]);
  const look = async () => {
    await dialog.opened;
    while (dialog.isOpen()) {
      const answer = await teacher.answer(dialog.camera().frame());
      const doubt = taughtDoubt(answer.probabilities, threshold);
      if (dialog.isOpen()) showAnswer(bars, answer, doubt);
      await new Promise((resolve) => setTimeout(resolve)); // the page has a turn
    }
  };
  look().catch(dialog.fail);
  return dialog;
}

/**
 * Open a dialog with a viewfinder.
 * @param {HTMLElement} section
 * @param {Tools} tools
 * @param {string} title
 * @param {HTMLElement[]} content
 */
function cameraDialog(section, { openCamera, say, report }, title, content) {
  const video = element("video", { muted: true, playsInline: true, autoplay: true });
  video.ariaLabel = say("teach.viewfinder");
  const stop = button(say("teach.stop"), () => dialog.close());
  const flip = button(say("teach.flip"), () => turn());
  const heading = element("h3", { id: "teach-camera-title" }, title);
  const row = element("div", { className: "teach-row" }, stop, flip);
  const dialog = element("dialog", { className: "teach-camera" }, heading, video, ...content, row);
  dialog.setAttribute("aria-labelledby", heading.id);
  /** @type {Camera | null} */
  let camera = null;
  dialog.addEventListener("close", () => {
    camera?.close();
    camera = null;
    dialog.remove();
  });
  const fail = (/** @type {unknown} */ error) => {
    if (!dialog.open) return; // it was closed meanwhile, which ends what runs with an error
    dialog.close();
    report(error);
  };
  async function turn() {
    try {
      await camera?.flip?.();
    } catch (error) {
      fail(error);
    }
  }
  async function start() {
    const opened = await openCamera(video);
    if (dialog.open) camera = opened;
    else opened.close(); // the dialog was closed while the browser asked for permission
  }
  section.append(dialog);
  dialog.showModal();
  const opened = start().catch(fail);
  return {
    opened,
    isOpen: () => dialog.open && camera !== null,
    close: () => dialog.close(),
    fail,
    camera: () => {
      if (!camera) throw new Error(say("teach.noCamera"));
      return camera;
    },
  };
}

/**
 * Return a picture of the camera as a JPEG file.
 * @param {{width: number, height: number, data: Uint8ClampedArray}} frame
 * @returns {Promise<Blob>}
 */
function jpeg({ width, height, data }) {
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d")?.putImageData(new ImageData(data, width, height), 0, 0);
  return canvas.convertToBlob({ type: "image/jpeg", quality: QUALITY });
}
