// A new head for a network, taught on photos: classes, photos, features, training. No document.

import { normalise, prepare, resize } from "./resize.js";
import { probabilities } from "./outputs.js";
import { tableOf, teach } from "./regression.js";

/**
 * @typedef {import("./resize.js").Pixels} Pixels
 * @typedef {{name: string, preprocessing: import("./resize.js").Preprocessing}} Entry of page.json
 * @typedef {{model: Entry, run: (input: Float32Array) => Promise<{features: Float32Array}>}} Device
 * @typedef {{id: number, name: string, blob: Blob, features: Map<string, Float32Array>,
 *   thumbnail: import("./resize.js").Picture | null}} Photo features by the name of the model
 * @typedef {{id: number, name: string, named: boolean, photos: Photo[]}} Class named: true if the
 *   user gave it its name
 */

export const FEWEST = 2;
/** Sides of a thumbnail, in pixels. */
export const THUMBNAIL = 72;
const LONGEST_NAME = 200;
/** Milliseconds of work after which the page has a turn. */
const TURN = 30;

/** A head that was taught: it belongs to one model and answers for that model's features. */
export class Taught {
  /**
   * @param {string} model name of the model that gives the features
   * @param {string[]} labels
   * @param {Awaited<ReturnType<typeof teach>>} result
   */
  constructor(model, labels, result) {
    const width = result.layer.weight.length / labels.length;
    const { weight, bias } = result.layer;
    this.model = model;
    this.labels = labels;
    this.result = result;
    this.outputs = "softmax";
    /** For heat maps, which need the pooling only where there are hidden layers. */
    this.classifier = { pooling: "average", hidden: [], outputs: "softmax" };
    this.tensors = new Map([
      ["classifier.weight", { dtype: "F32", shape: [labels.length, width], data: weight }],
      ["classifier.bias", { dtype: "F32", shape: [labels.length], data: bias }],
    ]);
  }

  /**
   * Return a probability for each class.
   * @param {ArrayLike<number>} features of one photo, from the model that this head belongs to
   */
  answer(features) {
    const { weight, bias } = this.result.layer;
    const logits = Float64Array.from(bias);
    for (let index = 0; index < logits.length; index++) {
      const row = index * features.length;
      for (let i = 0; i < features.length; i++) logits[index] += weight[row + i] * features[i];
    }
    return { probabilities: probabilities(logits, this.outputs), labels: this.labels };
  }
}

/**
 * The classes and photos that a user collects, and what was taught with them.
 *
 * Sends the event "change" whenever anything has changed.
 */
export class Teacher extends EventTarget {
  /**
   * @param {object} page
   * @param {() => Promise<Device>} page.device the chosen model, ready to compute
   * @param {() => Entry} page.model the chosen model
   * @param {(blob: Blob) => Promise<Pixels>} page.readPixels
   * @param {(key: string, values?: object) => string} page.say
   */
  constructor({ device, model, readPixels, say }) {
    super();
    this.page = { device, model, readPixels, say };
    /** @type {Class[]} */
    this.classes = [];
    /** @type {Taught | null} */
    this.taught = null;
    /** Number of changes of photos and names, and that number when it was taught. */
    this.version = 0;
    this.taughtVersion = 0;
    /** Share of the training that is done; null while it is not trained. @type {number | null} */
    this.training = null;
    /** Photos that cannot be used, and other faults, in sentences. @type {string[]} */
    this.problems = [];
    /** @type {Promise<void> | null} */
    this.working = null;
    this.ids = 0;
  }

  /** All photos, of all classes. */
  get photos() {
    return this.classes.flatMap((one) => one.photos);
  }

  /** The classes that are trained: those that have photos. */
  get filled() {
    return this.classes.filter((one) => one.photos.length > 0);
  }

  /** True if photos or names have changed since it was taught. */
  get stale() {
    return this.taught !== null && this.taughtVersion !== this.version;
  }

  /** Number of photos whose features are known for the chosen model. */
  get ready() {
    const { name } = this.page.model();
    return this.photos.filter((photo) => photo.features.has(name)).length;
  }

  /**
   * Return the class of a name; there is a new one if there was none.
   * @param {string} [name] by default "Class 1", "Class 2" ...
   */
  addClass(name) {
    const names = new Set(this.classes.map((one) => one.name));
    const named = name !== undefined;
    if (name === undefined) {
      let n = this.classes.length + 1;
      while (names.has(this.page.say("teach.new", { n }))) n++;
      name = this.page.say("teach.new", { n });
    }
    const wanted = cleaned(name);
    const known = this.classes.find((one) => one.name === wanted);
    if (known) return known;
    const added = { id: ++this.ids, name: wanted, named, photos: [] };
    this.classes.push(added);
    this.changed(true);
    return added;
  }

  /** @param {Class} one @param {string} name */
  rename(one, name) {
    one.name = cleaned(name);
    one.named = one.name !== "";
    this.changed(true);
  }

  /** @param {Class} one */
  removeClass(one) {
    this.classes = this.classes.filter((other) => other !== one);
    this.changed(true);
  }

  /** @param {Class} one @param {Photo} photo */
  removePhoto(one, photo) {
    one.photos = one.photos.filter((other) => other !== photo);
    this.changed(true);
  }

  /**
   * Add photos to a class; their features are computed from then on.
   * @param {Class} one
   * @param {Iterable<{name: string, blob: Blob}>} photos
   */
  addPhotos(one, photos) {
    for (const { name, blob } of photos) {
      one.photos.push({ id: ++this.ids, name, blob, features: new Map(), thumbnail: null });
    }
    this.changed(true);
    return this.compute();
  }

  /** Follow the page to another model: what was taught belongs to the old one and is forgotten. */
  modelChanged() {
    if (this.taught && this.taught.model !== this.page.model().name) this.taught = null;
    this.problems = this.photos.length
      ? [this.page.say("teach.recompute", { model: this.page.model().name })]
      : [];
    this.changed(false);
    return this.compute();
  }

  /** Compute the features that are missing, one photo after another; one such work at a time. */
  compute() {
    this.working ??= this.#computeAll().finally(() => {
      this.working = null;
      this.changed(false);
    });
    return this.working;
  }

  /** Return why it cannot be trained yet, in one sentence; "" if it can. */
  lacks() {
    const { say } = this.page;
    const names = this.filled.map((one) => one.name);
    if (names.length < 2) return say("teach.few");
    if (names.includes("")) return say("teach.nameless");
    // A class that was only added is left out; one with a name is missed by who named it.
    const short = this.classes.find(
      ({ photos, named }) => photos.length < FEWEST && (photos.length > 0 || named),
    );
    if (short) return say("teach.short", { name: short.name, n: short.photos.length });
    const twice = names.find((name, index) => names.indexOf(name) !== index);
    return twice === undefined ? "" : say("teach.twice", { name: twice });
  }

  /**
   * Train a head on all photos, and keep it as `taught`.
   * @returns {Promise<Taught>}
   */
  async train() {
    const { say, model } = this.page;
    if (this.training !== null) throw new Error(say("teach.busy"));
    if (this.lacks()) throw new Error(this.lacks());
    this.training = 0;
    this.changed(false);
    try {
      await this.compute();
      // A broken photo was taken out meanwhile.
      if (this.lacks()) throw new Error(this.lacks());
      if (this.ready < this.photos.length) throw new Error(this.problems.at(-1));
      const { name } = model();
      const classes = this.filled;
      const labels = classes.map((one) => one.name);
      const photos = this.photos;
      const table = tableOf(photos.map((photo) => /** @type {any} */ (photo.features.get(name))));
      const truth = classes.flatMap((one, index) => one.photos.map(() => index));
      const { version } = this;
      const result = await teach(table, truth, labels.length, {
        onProgress: (share) => {
          this.training = share;
          this.changed(false);
        },
        pause: turns(),
      });
      if (model().name !== name) throw new Error(say("teach.changed"));
      const wrong = result.wrong.map(({ place, answer }) => ({
        photo: photos[place],
        name: labels[truth[place]],
        answer: labels[answer],
      }));
      this.taught = Object.assign(new Taught(name, labels, result), { wrong });
      this.taughtVersion = version;
      return this.taught;
    } finally {
      this.training = null;
      this.changed(false);
    }
  }

  /**
   * Return what the taught head answers for a photo.
   * @param {Pixels} pixels
   */
  async answer(pixels) {
    const { taught } = this;
    if (!taught) throw new Error(this.page.say("teach.untrained"));
    const device = await this.page.device();
    if (device.model.name !== taught.model) throw new Error(this.page.say("teach.changed"));
    const { preprocessing } = device.model;
    const input = normalise(prepare(pixels, preprocessing), preprocessing);
    const { features } = await device.run(input);
    return taught.answer(features);
  }

  /** @param {boolean} stale true if what was taught does not know of it */
  changed(stale) {
    if (stale) this.version++;
    this.dispatchEvent(new Event("change"));
  }

  async #computeAll() {
    for (;;) {
      const { name } = this.page.model();
      const photo = this.photos.find((one) => !one.features.has(name));
      if (!photo) return;
      let device;
      try {
        device = await this.page.device();
      } catch (error) {
        this.problems = [...this.problems, sentence(error)];
        return; // the photos wait: the next one that is added tries again
      }
      // A device for another model than the chosen one is on its way out.
      if (device.model.name !== this.page.model().name) continue;
      try {
        await this.#computeOne(photo, device);
      } catch (error) {
        // A device that was closed for another model says nothing of the photo.
        if (device.model.name !== this.page.model().name) continue;
        this.#takeOut(photo, error);
      }
      this.changed(false);
    }
  }

  /** @param {Photo} photo @param {Device} device */
  async #computeOne(photo, device) {
    const { preprocessing, name } = device.model;
    const bytes = prepare(await this.page.readPixels(photo.blob), preprocessing);
    const [height, width] = preprocessing.size;
    const channels = preprocessing.mean.length;
    const picture = { width, height, channels, data: new Uint8ClampedArray(bytes) };
    photo.thumbnail ??= resize(picture, THUMBNAIL, THUMBNAIL, "box");
    const { features } = await device.run(normalise(bytes, preprocessing));
    photo.features.set(name, Float32Array.from(features)); // the device may use its own again
  }

  /** @param {Photo} photo @param {unknown} error */
  #takeOut(photo, error) {
    const said = sentence(error);
    // The sentence on a file that cannot be read has its name already.
    const isNamed = said.startsWith(photo.name);
    const why = isNamed ? said : this.page.say("teach.broken", { name: photo.name, why: said });
    this.problems = [...this.problems, why];
    for (const one of this.classes) one.photos = one.photos.filter((other) => other !== photo);
  }
}

/** @param {unknown} error */
export function sentence(error) {
  return error instanceof Error ? error.message : String(error);
}

/**
 * Return a class name in one line, not too long, without spaces around it.
 * @param {string} name
 */
function cleaned(name) {
  return name.replace(/\s+/g, " ").trim().slice(0, LONGEST_NAME);
}

/** Return a pause that gives the page a turn now and then, and costs next to nothing otherwise. */
function turns() {
  let last = performance.now();
  return async () => {
    if (performance.now() - last < TURN) return;
    await new Promise((resolve) => setTimeout(resolve));
    last = performance.now();
  };
}
