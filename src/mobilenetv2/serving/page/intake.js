// Where photos come in: dropped, pasted, chosen.

import { byFolder, chosen, receive } from "./dropped.js";
import { button, canDrop, element } from "./teach_elements.js";
import { say } from "./words.js";

/** Kinds of files that a browser offers when photos are chosen. */
const ACCEPT = "image/*,.heic,.heif,.tif,.tiff,.jp2,.ppm,.tga,.avif";

/**
 * Return the area that takes photos, and take those that are dropped on the page or pasted.
 * @param {object} page
 * @param {(files: File[]) => void} page.add
 * @param {(text: string) => void} page.tell says what was passed over
 * @param {() => boolean} page.isOpen true while this part of the page is shown
 * @param {() => void} page.camera
 * @param {() => void} page.live
 */
export function intake({ add, tell, isOpen, camera, live }) {
  const input = element("input", {
    type: "file",
    multiple: true,
    hidden: true,
    accept: ACCEPT,
    ariaLabel: say("drop.choose"),
  });
  input.addEventListener("change", () => {
    const files = [...(input.files ?? [])];
    input.value = ""; // the same files may be chosen again
    if (files.length) take(chosen(files));
  });
  const choose = button(say("drop.choose"), () => input.click());
  choose.classList.add("main");
  const liveButton = button(say("drop.live"), live);
  const root = element(
    "div",
    { className: "drop" },
    element("p", { className: "drop-title" }, say(canDrop() ? "drop.title" : "drop.touch")),
    element("p", { className: "hint" }, say("drop.hint")),
    element("div", { className: "row" }, choose, button(say("drop.camera"), camera), liveButton),
    input,
  );

  /** @param {import("./dropped.js").Found[]} found */
  function take(found) {
    // What was dropped by itself is meant; in folders there are other files, too.
    const alone = found.filter(({ path }) => !path.includes("/")).map(({ file }) => file);
    const { classes, passed } = byFolder(found.filter(({ path }) => path.includes("/")));
    const files = [...alone, ...[...classes.values()].flat()];
    if (!files.length) tell(say("drop.empty"));
    else tell(passed ? say("drop.passed", { n: passed }) : "");
    if (files.length) add(files);
  }

  const isForUs = (/** @type {DragEvent} */ event) =>
    isOpen() && event.dataTransfer?.types.includes("Files");
  let inside = 0;
  const mark = (/** @type {number} */ depth) => {
    inside = Math.max(0, depth);
    root.classList.toggle("over", inside > 0);
  };
  addEventListener("dragenter", (event) => isForUs(event) && mark(inside + 1));
  addEventListener("dragleave", (event) => isForUs(event) && mark(inside - 1));
  addEventListener("dragover", (event) => {
    // Without this a photo that misses the area would replace the page.
    if (event.dataTransfer?.types.includes("Files")) event.preventDefault();
  });
  const report = (/** @type {unknown} */ error) =>
    tell(error instanceof Error ? error.message : String(error));
  addEventListener("drop", (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    mark(0);
    if (isOpen()) receive(/** @type {any} */ (event), take, report);
  });
  let pasted = 0;
  addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!isOpen() || !files.length) return;
    event.preventDefault();
    // A browser calls every picture of the clipboard image.png.
    const named = files.map((file) => {
      if (files.length > 1 || file.name !== "image.png") return file;
      const name = say("paste.name", { n: ++pasted });
      return new File([file], `${name}.png`, { type: file.type });
    });
    take(named.map((file) => ({ path: file.name, file })));
  });
  return {
    root,
    choose,
    /** Offer the live camera only with a model that this browser computes. @param {boolean} able */
    allowLive: (able) => (liveButton.hidden = !able),
  };
}
