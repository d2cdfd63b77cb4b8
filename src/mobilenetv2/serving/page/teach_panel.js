// The panel "Teach it in the browser": cards of classes, training, trying, saving.

import { taughtDoubt } from "./bars.js";
import { THUMBNAIL, Teacher, sentence } from "./teach.js";
import { byFolder, chosen, receive } from "./dropped.js";
import { button, canDrop, element, setText, showAnswer } from "./teach_elements.js";
import { collect, tryLive } from "./teach_camera.js";
import { folderName, modelFolder } from "./taught_model.js";
import { WORDS } from "./words_teach.js";
import { addWords } from "./words.js";

/**
 * @typedef {import("./teach.js").Class} Class
 * @typedef {import("./teach.js").Photo} Photo
 * @typedef {ReturnType<typeof classCard>} Card
 * @typedef {object} Page
 * @property {() => Promise<any>} device the chosen model on this device
 * @property {() => any} model its entry of page.json
 * @property {(blob: Blob) => Promise<any>} readPixels
 * @property {(video: HTMLVideoElement) => any} openCamera
 * @property {{fetchBytes: (path: string) => Promise<any>}} server
 * @property {number} threshold least probability of an answer that is sure
 * @property {(key: string, values?: object) => string} say
 */

for (const [language, table] of Object.entries(WORDS)) addWords(language, table);

/** Most photos that the list of wrong answers names. */
const MOST_WRONG = 12;
/** Longest side of a tried photo, in pixels. */
const TRIED = 320;
/** Accuracy below which there is advice, and sides of what a model sees that tell little. */
const LOW = 0.8;
const SMALL = 64;

/**
 * Fill a section with the panel.
 * @param {HTMLElement} section
 * @param {Page} page
 */
export function mountTeach(section, page) {
  const { say } = page;
  const teacher = new Teacher(page);
  /** @type {Map<Class, Card>} */
  const cards = new Map();
  const alert = element("p", { role: "alert", className: "teach-alert" });
  const report = (/** @type {unknown} */ error) => (alert.textContent = sentence(error));
  /** Run what a button does; a fault becomes a sentence. @param {() => unknown} work */
  const attempt = async (work) => {
    alert.textContent = "";
    try {
      await work();
    } catch (error) {
      report(error);
    }
  };

  const grid = element("div", { className: "teach-classes" });
  const status = element("p", { role: "status", className: "teach-status" });
  const progress = element("progress", { hidden: true, max: 1, ariaLabel: say("teach.train") });
  const problems = element("ul", { className: "teach-problems" });
  const result = element("div", { className: "teach-result", hidden: true });
  const bars = element("div", { className: "teach-bars", ariaLabel: say("teach.answers") });
  bars.role = "group";
  const tried = element("div", { className: "teach-tried" });
  const folder = fileInput(say("teach.folder"), (files) => attempt(() => addAll(chosen(files))));
  folder.input.webkitdirectory = true;
  const drop = element(
    "div",
    { className: "teach-drop" },
    element("p", {}, say(canDrop() ? "teach.drop" : "teach.touch")),
    element(
      "div",
      { className: "teach-row" },
      folder.button,
      folder.input,
      button(say("teach.add"), () => {
        const added = teacher.addClass();
        update();
        cards.get(added)?.name.select();
      }),
    ),
  );
  const train = button(say("teach.train"), () => attempt(() => teacher.train()));
  const photo = fileInput(say("teach.tryPhoto"), (files) => attempt(() => tryPhoto(files[0])));
  const trial = element(
    "div",
    { className: "teach-trial", hidden: true },
    element("h3", {}, say("teach.try")),
    element(
      "div",
      { className: "teach-row" },
      button(say("teach.tryCamera"), () => attempt(() => cameras.open(tryLive))),
      photo.button,
      photo.input,
    ),
    element("div", { className: "teach-answer" }, tried, bars),
  );
  const saved = saving();
  const why = element("p", { className: "teach-unable", hidden: true });
  const work = element(
    "div",
    { className: "teach-work" },
    drop,
    grid,
    status,
    progress,
    problems,
    element("div", { className: "teach-row" }, train),
    result,
    trial,
    saved.form,
  );
  const title = element("h2", { id: "teach-title" }, say("teach.title"));
  section.setAttribute("aria-labelledby", "teach-title");
  section.replaceChildren(title, element("p", {}, say("teach.intro")), why, work, alert);
  const cameras = cameraDialogs(section, { ...page, teacher, report });

  acceptDrops(drop, (found) => attempt(() => addAll(found)), report);
  teacher.addEventListener("change", soon(update));
  addEventListener("beforeunload", (event) => {
    if (teacher.photos.length) event.preventDefault();
  });
  update();

  /**
   * Add files to classes by the names of their folders; those in none get a new class.
   * @param {import("./dropped.js").Found[]} found
   */
  async function addAll(found) {
    const { classes, passed } = byFolder(found);
    if (passed) report(say("teach.passed", { n: passed }));
    for (const [name, files] of classes) add(teacher.addClass(name || undefined), files);
  }

  /** @param {Class} one @param {File[]} files */
  function add(one, files) {
    const photos = files.map((file) => ({ name: file.name, blob: file }));
    teacher.addPhotos(one, photos).catch(report);
  }

  /** @param {Class} one @param {import("./dropped.js").Found[]} found */
  function addTo(one, found) {
    const { classes, passed } = byFolder(found);
    alert.textContent = passed ? say("teach.passed", { n: passed }) : "";
    add(one, [...classes.values()].flat());
  }

  /** @param {File} file */
  async function tryPhoto(file) {
    const pixels = await page.readPixels(file);
    const answer = await teacher.answer(pixels);
    tried.replaceChildren(smallPicture(pixels, file.name));
    showAnswer(bars, answer, taughtDoubt(answer.probabilities, page.threshold));
  }

  function forgetTrial() {
    tried.replaceChildren();
    bars.replaceChildren();
  }

  /** Bring the panel to the teacher's state. */
  function update() {
    const entry = page.model();
    const able = Boolean(entry?.device);
    why.hidden = able;
    work.hidden = !able;
    if (!able) {
      const values = { model: entry?.name ?? "", why: entry?.why_not ?? "" };
      why.textContent = say("teach.unable", values);
      return;
    }
    const wrong = new Map((teacher.taught?.wrong ?? []).map((one) => [one.photo, one.answer]));
    for (const [one, card] of cards) {
      if (teacher.classes.includes(one)) continue;
      card.root.remove();
      cards.delete(one);
    }
    for (const one of teacher.classes) {
      let card = cards.get(one);
      if (!card) {
        card = classCard(one, teacher, say, {
          add: (found) => addTo(one, found),
          report,
          camera: () => attempt(() => cameras.open(collect, one)),
        });
        cards.set(one, card);
        grid.append(card.root);
      }
      card.update(wrong);
    }
    updateStatus();
    problems.replaceChildren(...teacher.problems.map((text) => element("li", {}, text)));
    train.disabled = teacher.training !== null;
    const { taught } = teacher;
    trial.hidden = saved.form.hidden = result.hidden = !taught;
    if (taught) result.replaceChildren(...resultWords(teacher, entry.preprocessing.size, say));
    else forgetTrial();
  }

  function updateStatus() {
    const all = teacher.photos.length;
    const done = teacher.ready;
    const { training } = teacher;
    progress.hidden = training === null && done === all;
    progress.value = training ?? (all ? done / all : 0);
    if (training !== null && done === all) {
      setText(status, say("teach.training", { percent: Math.round(100 * training) }));
    } else if (done < all) {
      setText(status, say("teach.computing", { done, all }));
    } else {
      const ready = { n: all, classes: teacher.filled.length };
      setText(status, all ? say("teach.ready", ready) : say("teach.noPhotos"));
    }
  }

  /** Return the form that saves what was taught. */
  function saving() {
    const name = element("input", { id: "teach-save-name", value: "taught", maxLength: 64 });
    const told = element("p", { role: "status" });
    const save = element("button", { type: "submit" }, say("teach.save"));
    const form = element(
      "form",
      { className: "teach-save", hidden: true },
      element("h3", {}, say("teach.save")),
      element("p", {}, say("teach.saveHint")),
      element(
        "div",
        { className: "teach-row" },
        element("label", { htmlFor: "teach-save-name" }, say("teach.saveName")),
        name,
        save,
      ),
      told,
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      save.disabled = true;
      attempt(async () => {
        setText(told, say("teach.saving"));
        setText(told, await download(name.value));
      }).finally(() => {
        save.disabled = false;
        if (alert.textContent) setText(told, "");
      });
    });
    return { form };
  }

  /**
   * Save the taught model as a zip file, and return what to say of it.
   * @param {string} wanted name
   */
  async function download(wanted) {
    const { taught } = teacher;
    const entry = page.model();
    if (!taught) throw new Error(say("teach.untrained"));
    if (taught.model !== entry.name) throw new Error(say("teach.changed"));
    const name = folderName(wanted);
    const [config, weights, { zipSync }] = await Promise.all([
      page.server.fetchBytes(entry.device.config),
      page.server.fetchBytes(entry.device.weights),
      import("../vendor/fflate.js"),
    ]);
    // Weights are as good as random numbers: packing them would save nothing.
    const zip = zipSync(modelFolder(name, taught, { config, weights }), { level: 0 });
    const url = URL.createObjectURL(new Blob([zip], { type: "application/zip" }));
    element("a", { href: url, download: `${name}.zip` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
    return say("teach.saved", { file: `${name}.zip`, name });
  }

  return {
    teacher,
    /** Follow the page to another model. */
    modelChanged: () => {
      cameras.close();
      forgetTrial();
      return teacher.modelChanged().catch(report);
    },
    /** End cameras and what runs with them. */
    close: () => cameras.close(),
  };
}

/**
 * Return what was taught, in words.
 * @param {Teacher} teacher with something taught
 * @param {[number, number]} size height and width of what the model sees
 * @param {Page["say"]} say
 */
function resultWords(teacher, size, say) {
  const { result, labels, wrong } = /** @type {any} */ (teacher.taught);
  const percent = (/** @type {number} */ share) => (100 * share).toFixed(1);
  const [low, high] = result.interval.map(percent);
  const { images: n, right, folds } = result;
  const values = { n, right, folds, classes: labels.length, low, high };
  const parts = [
    element("p", {}, say("teach.result", { ...values, percent: percent(result.accuracy) })),
    element("p", {}, say("teach.honest")),
  ];
  if (teacher.stale) parts.push(element("p", {}, element("strong", {}, say("teach.stale"))));
  if (result.accuracy < LOW) {
    const [height, width] = size;
    const small = Math.max(height, width) <= SMALL ? say("teach.small", { width, height }) : "";
    parts.push(element("p", {}, [say("teach.advice"), small].join(" ").trim()));
  }
  if (wrong.length) {
    const items = wrong.map((/** @type {any} */ one) => {
      const { photo, name, answer } = one;
      return element("li", {}, say("teach.wrongItem", { photo: photo.name, name, answer }));
    });
    const first = items.splice(0, MOST_WRONG);
    parts.push(element("p", {}, say("teach.wrong")), element("ul", {}, ...first));
    if (items.length) {
      const more = element("summary", {}, say("teach.more", { n: items.length }));
      parts.push(element("details", {}, more, element("ul", {}, ...items)));
    }
  }
  return parts;
}

/**
 * Return the card of a class.
 * @param {Class} one
 * @param {Teacher} teacher
 * @param {Page["say"]} say
 * @param {{add: (found: import("./dropped.js").Found[]) => void, camera: () => void,
 *   report: (error: unknown) => unknown}} does
 */
function classCard(one, teacher, say, does) {
  /** @type {Map<Photo, HTMLElement>} */
  const shown = new Map();
  const name = element("input", { className: "teach-name", value: one.name, maxLength: 200 });
  name.ariaLabel = say("teach.name");
  name.addEventListener("change", () => {
    teacher.rename(one, name.value);
    name.value = one.name;
  });
  const count = element("span", { className: "teach-count" });
  const thumbs = element("ul", { className: "teach-thumbs", tabIndex: 0 });
  const files = fileInput(say("teach.choose"), (list) => does.add(chosen(list)));
  const camera = button(say("teach.camera"), does.camera);
  const remove = button(say("teach.remove"), () => teacher.removeClass(one));
  const root = element(
    "article",
    { className: "teach-class" },
    element("div", { className: "teach-row" }, name, count),
    element("div", { className: "teach-row" }, files.button, files.input, camera, remove),
    thumbs,
  );
  acceptDrops(root, does.add, does.report);

  /** @param {Map<Photo, string>} wrong answers of photos that were answered wrongly */
  function update(wrong) {
    files.button.ariaLabel = say("teach.chooseNamed", { name: one.name });
    camera.ariaLabel = say("teach.cameraNamed", { name: one.name });
    remove.ariaLabel = say("teach.removeNamed", { name: one.name });
    thumbs.ariaLabel = say("teach.photosNamed", { name: one.name });
    thumbs.hidden = one.photos.length === 0;
    setText(count, say("teach.photos", { n: one.photos.length }));
    const kept = new Set(one.photos);
    for (const [photo, item] of shown) {
      if (kept.has(photo)) continue;
      item.remove();
      shown.delete(photo);
    }
    for (const photo of one.photos) {
      if (!photo.thumbnail) continue;
      let item = shown.get(photo);
      if (!item) {
        item = thumbnail(photo, say, () => teacher.removePhoto(one, photo));
        shown.set(photo, item);
        thumbs.append(item);
      }
      const answer = wrong.get(photo);
      item.classList.toggle("teach-wrong", answer !== undefined);
      item.title = answer === undefined ? photo.name : say("teach.wrongPhoto", { answer });
    }
  }
  return { root, name, update };
}

/**
 * Return the small picture of a photo, with a button that removes it.
 * @param {Photo} photo
 * @param {Page["say"]} say
 * @param {() => void} remove
 */
function thumbnail(photo, say, remove) {
  const canvas = element("canvas", { width: THUMBNAIL, height: THUMBNAIL });
  const { data, channels } = /** @type {import("./resize.js").Picture} */ (photo.thumbnail);
  const image = new ImageData(THUMBNAIL, THUMBNAIL);
  for (let i = 0; i < THUMBNAIL * THUMBNAIL; i++) {
    for (let k = 0; k < 3; k++) image.data[4 * i + k] = data[i * channels + (channels > 1 ? k : 0)];
    image.data[4 * i + 3] = 255;
  }
  canvas.getContext("2d")?.putImageData(image, 0, 0);
  canvas.role = "img";
  canvas.ariaLabel = photo.name;
  const away = button("×", remove);
  away.ariaLabel = say("teach.removePhoto", { name: photo.name });
  return element("li", { className: "teach-thumb" }, canvas, away);
}

/**
 * Return a photo that is drawn small.
 * @param {import("./resize.js").Pixels} pixels
 * @param {string} name
 */
function smallPicture({ width, height, data }, name) {
  const whole = new OffscreenCanvas(width, height);
  whole.getContext("2d")?.putImageData(new ImageData(data, width, height), 0, 0);
  const scale = Math.min(1, TRIED / Math.max(width, height));
  const [w, h] = [width, height].map((side) => Math.max(1, Math.round(side * scale)));
  const canvas = element("canvas", { width: w, height: h, role: "img", ariaLabel: name });
  canvas.getContext("2d")?.drawImage(whole, 0, 0, w, h);
  return canvas;
}

/**
 * Return the one dialog that may be open with a camera: opening another one ends it.
 * @param {HTMLElement} section
 * @param {any} page
 */
function cameraDialogs(section, page) {
  /** @type {{close: () => void} | null} */
  let open = null;
  return {
    /** @param {(section: HTMLElement, page: any, one?: Class) => any} make @param {Class} [one] */
    open: async (make, one) => {
      open?.close();
      const dialog = make(section, page, one);
      open = dialog;
      await dialog.opened;
    },
    close: () => {
      open?.close();
      open = null;
    },
  };
}

/**
 * Let files and folders be dropped on an element.
 * @param {HTMLElement} target
 * @param {(found: import("./dropped.js").Found[]) => unknown} take
 * @param {(error: unknown) => unknown} report says what went wrong
 */
function acceptDrops(target, take, report) {
  target.addEventListener("dragover", (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    event.stopPropagation(); // the page itself takes photos as well, to answer them
    target.classList.add("over");
  });
  target.addEventListener("dragleave", () => target.classList.remove("over"));
  target.addEventListener("drop", (event) => {
    target.classList.remove("over");
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.stopPropagation();
    receive(/** @type {any} */ (event), take, report);
  });
}

/**
 * Return a button and the file input that it stands for.
 * @param {string} label
 * @param {(files: File[]) => void} take
 */
function fileInput(label, take) {
  const input = element("input", { type: "file", multiple: true, hidden: true, ariaLabel: label });
  input.addEventListener("change", () => {
    const files = [...(input.files ?? [])];
    input.value = ""; // the same files may be chosen again
    if (files.length) take(files);
  });
  return { input, button: button(label, () => input.click()) };
}

/** Return a function that runs another one once, before the page is drawn next. */
function soon(/** @type {() => void} */ run) {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      run();
    });
  };
}
