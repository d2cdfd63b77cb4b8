// The photos of the page and their answers, by the server and on this device. No document.

import { best, probabilities } from "./outputs.js";
import { normalise, prepare } from "./resize.js";
import { megabytes, say } from "./words.js";

/**
 * @typedef {import("./device.js").Model} Model
 * @typedef {"server" | "device"} Place where an answer is computed
 * @typedef {object} Result
 * @property {"working" | "done" | "failed"} state
 * @property {import("./server.js").Prediction[]} [predictions] the most probable classes
 * @property {Float64Array} [probabilities] of all classes; only from this device
 * @property {number} [ms] milliseconds that the photo took, a share of its request's on the server
 * @property {string} [error] a sentence
 * @property {boolean} [again] true if it may succeed another time
 * @typedef {object} Photo
 * @property {number} id
 * @property {string} name
 * @property {File} file
 * @property {boolean} own true if it may not be sent: it was added when nothing was sent
 * @property {Map<string, Result>} results by place and model
 * @typedef {object} Page
 * @property {import("./server.js").Server} server
 * @property {(model: Model) => Promise<any>} device a model in this browser
 * @property {(blob: File) => Promise<import("./resize.js").Pixels>} readPixels
 * @property {{bytes: number, photos: number} | null} limits
 */

/** Most photos in a request: the answers of the first ones show while others are computed. */
const PORTION = 8;
/** Bytes that a form has around a photo. */
const AROUND = 1024;

/** @param {Place} place @param {Model} model */
const keyOf = (place, model) => `${place} ${model.name}`;

/**
 * All photos, and the work of answering them.
 *
 * Sends the event "change" when anything has changed; its detail is the photo, or null for several.
 */
export class Photos extends EventTarget {
  /** @param {Page} page */
  constructor(page) {
    super();
    this.page = page;
    /** @type {Photo[]} */
    this.all = [];
    /** The chosen model. @type {Model | null} */
    this.model = null;
    /** Where answers are wanted from. @type {Place[]} */
    this.places = [];
    this.ids = 0;
    /** @type {AbortController | null} */
    this.request = null;
    /** Places that are working. @type {Set<Place>} */
    this.busy = new Set();
  }

  /**
   * Choose the model and the places that answer; what is missing is computed.
   * @param {Model} model
   * @param {Place[]} places
   */
  choose(model, places) {
    const other = this.model !== model || !places.includes("server");
    this.model = model;
    this.places = places;
    if (other) this.request?.abort();
    this.#changed(null);
    this.#work();
  }

  /**
   * Add photos; they are not sent to the server if it is not asked for answers now.
   * @param {File[]} files
   */
  add(files) {
    const own = !this.places.includes("server");
    for (const file of files) {
      this.all.push({ id: ++this.ids, name: file.name, file, own, results: new Map() });
    }
    this.#changed(null);
    this.#work();
  }

  /** @param {Photo} photo */
  remove(photo) {
    this.all = this.all.filter((one) => one !== photo);
    this.#changed(null);
  }

  /** Remove all photos. */
  clear() {
    this.all = [];
    this.request?.abort();
    this.#changed(null);
  }

  /** Allow a photo to be sent to the server. @param {Photo} photo */
  allow(photo) {
    photo.own = false;
    this.#changed(photo);
    this.#work();
  }

  /** Compute an answer that has failed once more. @param {Photo} photo @param {Place} place */
  again(photo, place) {
    if (this.model) photo.results.delete(keyOf(place, this.model));
    this.#changed(photo);
    this.#work();
  }

  /**
   * Return the answer of the chosen model for a photo; undefined if there is none yet.
   * @param {Photo} photo
   * @param {Place} place
   */
  result(photo, place) {
    return this.model ? photo.results.get(keyOf(place, this.model)) : undefined;
  }

  /** Number of wanted answers that there are or that failed, of failed and of all wanted ones. */
  get counts() {
    let [done, failed, all] = [0, 0, 0];
    for (const photo of this.all) {
      for (const place of this.places) {
        if (place === "server" && photo.own) continue;
        const result = this.result(photo, place);
        all++;
        if (result && result.state !== "working") done++;
        if (result?.state === "failed") failed++;
      }
    }
    return { done, failed, all };
  }

  /**
   * Return the photos that wait for a place.
   * @param {Place} place
   */
  #missing(place) {
    if (!this.places.includes(place)) return [];
    const allowed = (/** @type {Photo} */ photo) => place === "device" || !photo.own;
    return this.all.filter((photo) => allowed(photo) && !this.result(photo, place));
  }

  #work() {
    this.#workAt("server", () => this.#askServer());
    this.#workAt("device", () => this.#askDevice());
  }

  /**
   * Work at a place until nothing is missing; one such work at a time.
   * @param {Place} place
   * @param {() => Promise<void>} step answers at least one photo that is missing
   */
  async #workAt(place, step) {
    if (this.busy.has(place)) return;
    this.busy.add(place);
    try {
      while (this.#missing(place).length) await step();
    } finally {
      this.busy.delete(place);
    }
  }

  /** Send the next photos to the server, no more than it takes in a request. */
  async #askServer() {
    const model = /** @type {Model} */ (this.model);
    const portion = this.#portion(model);
    if (!portion.length) return;
    const request = (this.request = new AbortController());
    for (const photo of portion) this.#keep(photo, "server", model, { state: "working" });
    const begin = performance.now();
    try {
      const files = portion.map((photo) => photo.file);
      const answers = await this.page.server.predict(model.name, files, request);
      const ms = (performance.now() - begin) / portion.length;
      portion.forEach((photo, i) => {
        const answer = answers[i];
        const result =
          "error" in answer
            ? failed(answer.error, maySucceed(answer.status))
            : { state: /** @type {const} */ ("done"), predictions: answer.predictions, ms };
        this.#keep(photo, "server", model, result);
      });
    } catch (error) {
      for (const photo of portion) {
        // What was stopped is computed if it is asked for again.
        if (request.signal.aborted) this.#forget(photo, "server", model);
        else this.#keep(photo, "server", model, failed(wordsOf(error), true));
      }
    } finally {
      if (this.request === request) this.request = null;
    }
  }

  /**
   * Return the photos of the next request; those that are too large get an error instead.
   * @param {Model} model
   */
  #portion(model) {
    const { bytes, photos } = this.page.limits ?? { bytes: Infinity, photos: 1 };
    /** @type {Photo[]} */
    const portion = [];
    let size = 0;
    for (const photo of this.#missing("server")) {
      const own = photo.file.size + AROUND + 3 * photo.name.length;
      if (own > bytes) {
        const values = { size: megabytes(photo.file.size), limit: megabytes(bytes) };
        const sentence = say("photo.large", { name: photo.name, ...values });
        this.#keep(photo, "server", model, failed(sentence, false));
        continue;
      }
      if (portion.length === Math.min(photos, PORTION) || size + own > bytes) break;
      portion.push(photo);
      size += own;
    }
    return portion;
  }

  /** Compute the next photo on this device. */
  async #askDevice() {
    const model = /** @type {Model} */ (this.model);
    const [photo] = this.#missing("device");
    let device;
    try {
      device = await this.page.device(model);
    } catch (error) {
      // Without the model no photo can be computed, those that came meanwhile neither.
      if (this.model !== model) return;
      for (const one of this.#missing("device")) {
        this.#keep(one, "device", model, failed(wordsOf(error), true));
      }
      return;
    }
    if (this.model !== model || !this.all.includes(photo)) return;
    this.#keep(photo, "device", model, { state: "working" });
    await new Promise((resolve) => setTimeout(resolve)); // the page is drawn
    let computing = false;
    try {
      const pixels = await this.page.readPixels(photo.file);
      computing = true;
      const begin = performance.now();
      const { logits } = await device.run(inputOf(pixels, model));
      const ms = performance.now() - begin;
      const values = probabilities(logits, model.outputs);
      const predictions = best(values, model.outputs, model.labels);
      const result = { state: /** @type {const} */ ("done"), predictions, ms };
      this.#keep(photo, "device", model, { ...result, probabilities: values });
    } catch (error) {
      // A photo that is not read once is never read; a device may be loaded anew.
      const result = failed(wordsOf(error), computing);
      if (this.model === model) this.#keep(photo, "device", model, result);
      else this.#forget(photo, "device", model); // the device was closed for another model
    }
  }

  /** @param {Photo} photo @param {Place} place @param {Model} model @param {Result} result */
  #keep(photo, place, model, result) {
    photo.results.set(keyOf(place, model), result);
    this.#changed(photo);
  }

  /** @param {Photo} photo @param {Place} place @param {Model} model */
  #forget(photo, place, model) {
    photo.results.delete(keyOf(place, model));
    this.#changed(photo);
  }

  /** @param {Photo | null} photo */
  #changed(photo) {
    this.dispatchEvent(new CustomEvent("change", { detail: photo }));
  }
}

/**
 * Return the network's input for a photo.
 * @param {import("./resize.js").Pixels} pixels
 * @param {Model} model
 */
export function inputOf(pixels, { preprocessing }) {
  return normalise(prepare(pixels, preprocessing), preprocessing);
}

/**
 * Return how the answers of both places differ: in the first class, and in probabilities.
 * @param {Result | undefined} server
 * @param {Result | undefined} device
 * @returns {{same: boolean, difference: number} | null} null if one of them has no answer
 */
export function compared(server, device) {
  if (!server?.predictions || !device?.predictions || !device.probabilities) return null;
  const values = device.probabilities;
  const differences = server.predictions.map((one) =>
    Math.abs(one.probability - values[one.index]),
  );
  const same = server.predictions[0]?.index === device.predictions[0]?.index;
  return { same, difference: Math.max(0, ...differences) };
}

/** @param {string} error @param {boolean} again @returns {Result} */
function failed(error, again) {
  return { state: "failed", error, again };
}

/**
 * Return true if a photo may be answered at another time: the fault is not the photo's.
 * @param {number} status
 */
function maySucceed(status) {
  return status === 0 || status >= 500 || [401, 408, 429].includes(status);
}

/** @param {unknown} error */
function wordsOf(error) {
  return error instanceof Error ? error.message : String(error);
}
