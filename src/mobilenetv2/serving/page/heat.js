// Heat maps: which part of a photo speaks for a class. From the server, or computed on this device.

import { classWeights, colour, heat } from "./outputs.js";
import { inputOf } from "./photos.js";
import { prepare, resize, roundHalfEven } from "./resize.js";
import { read } from "./safetensors.js";

/**
 * @typedef {import("./device.js").Model} Model
 * @typedef {import("./outputs.js").Tensors} Tensors
 * @typedef {import("./outputs.js").Classifier} Classifier
 */

/** Opacity of the colour for the most heat, as evaluation/gradcam.py has it. */
const STRONGEST = 0.6;
/** Longer side of a drawn map in pixels, and the enlargement from which on pixels stay squares. */
const SIDE = 288;
const CRISP = 3;
/** Shares of red, green and blue in grey (ITU-R BT.601). */
const GREY = [0.299, 0.587, 0.114];

/** Classifiers that were fetched, by the name of their model. */
const heads = new Map();

/**
 * Return a photo's heat map that this device computes, as a canvas.
 * @param {import("./resize.js").Pixels} pixels
 * @param {any} device
 * @param {number} index of the class
 * @param {import("./server.js").Server} server where the classifier is
 */
export async function deviceHeat(pixels, device, index, server) {
  const { tensors, classifier } = await headOf(device.model, server);
  const { map } = await device.run(inputOf(pixels, device.model));
  const found = heat(map, classWeights(tensors, classifier, map, index));
  const { size, preprocessing } = device.model;
  const [height, width] = size;
  const data = new Uint8ClampedArray(prepare(pixels, preprocessing));
  const drawn = overlay({ width, height, channels: preprocessing.mean.length, data }, found);
  const canvas = Object.assign(document.createElement("canvas"), { width: drawn.width });
  canvas.height = drawn.height;
  const image = new ImageData(new Uint8ClampedArray(drawn.data), drawn.width);
  canvas.getContext("2d")?.putImageData(image, 0, 0);
  return canvas;
}

/**
 * Return a photo's heat map that the server draws, as an image element.
 * @param {File} file
 * @param {Model} model
 * @param {number} index of the class
 * @param {import("./server.js").Server} server
 */
export async function serverHeat(file, model, index, server) {
  // A label that is a number is found before an index.
  const named = model.labels.includes(String(index)) ? model.labels[index] : String(index);
  const image = new Image();
  const url = URL.createObjectURL(await server.explain(model.name, file, named));
  image.src = url;
  try {
    await image.decode();
  } finally {
    URL.revokeObjectURL(url);
  }
  return image;
}

/**
 * Return the classifier of a model: its tensors and its record.
 * @param {Model} model
 * @param {import("./server.js").Server} server
 * @returns {Promise<{tensors: Tensors, classifier: Classifier}>}
 */
function headOf(model, server) {
  const { head, config } = /** @type {NonNullable<Model["device"]>} */ (model.device);
  const fetched = async () => {
    const [file, record] = await Promise.all([server.fetchBytes(head), server.fetchBytes(config)]);
    const { spec } = JSON.parse(new TextDecoder().decode(record));
    return { tensors: read(file).tensors, classifier: spec.classifier };
  };
  if (!heads.has(model.name)) {
    const asked = fetched();
    heads.set(model.name, asked);
    asked.catch(() => heads.delete(model.name)); // the next one who asks tries again
  }
  return heads.get(model.name);
}

/**
 * Return a heat map over a picture in grey, about SIDE pixels large.
 * @param {import("./resize.js").Picture} picture
 * @param {{data: Float32Array, height: number, width: number}} found heat from 0 to 1
 * @returns {{width: number, height: number, data: Uint8ClampedArray}} red, green, blue, alpha
 */
export function overlay(picture, found) {
  const { width, height, channels, data } = enlargedPicture(picture);
  const strength = enlarged(found, height, width);
  const drawn = new Uint8ClampedArray(4 * width * height);
  strength.forEach((warmth, i) => {
    const grey = GREY.reduce((sum, part, k) => sum + part * data[i * channels + k], 0);
    const share = STRONGEST * warmth;
    colour(warmth).forEach((value, k) => {
      drawn[4 * i + k] = (1 - share) * grey + share * value; // the array rounds, halves to even
    });
    drawn[4 * i + 3] = 255;
  });
  return { width, height, data: drawn };
}

/** @param {import("./resize.js").Picture} picture */
function enlargedPicture({ width, height, channels, data }) {
  let factor = SIDE / Math.max(width, height);
  const crisp = factor >= CRISP; // squares of a small picture stay sharp
  if (crisp) factor = roundHalfEven(factor);
  const to = (/** @type {number} */ side) => Math.max(1, roundHalfEven(side * factor));
  const colours = new Uint8ClampedArray(width * height * 3);
  colours.forEach((_, i) => (colours[i] = data[Math.floor(i / 3) * channels + (i % channels)]));
  const picture = { width, height, channels: 3, data: colours };
  return resize(picture, to(width), to(height), crisp ? "nearest" : "lanczos");
}

/**
 * Enlarge a coarse grid of numbers to a smooth surface (bicubic) within their range.
 * @param {{data: Float32Array, height: number, width: number}} grid
 * @param {number} height
 * @param {number} width
 */
export function enlarged(grid, height, width) {
  const across = weightsOf(grid.width, width);
  const down = weightsOf(grid.height, height);
  const low = grid.data.reduce((a, b) => Math.min(a, b), Infinity);
  const high = grid.data.reduce((a, b) => Math.max(a, b), -Infinity);
  const rows = new Float64Array(grid.height * width);
  for (let y = 0; y < grid.height; y++) {
    across.forEach((terms, x) => {
      for (const [place, weight] of terms) {
        rows[y * width + x] += weight * grid.data[y * grid.width + place];
      }
    });
  }
  const large = new Float32Array(height * width);
  down.forEach((terms, y) => {
    for (let x = 0; x < width; x++) {
      let sum = 0;
      for (const [place, weight] of terms) sum += weight * rows[place * width + x];
      large[y * width + x] = Math.min(high, Math.max(low, sum));
    }
  });
  return large;
}

/**
 * Return for each new place the old places and their weights, by Pillow's cubic convolution.
 * @param {number} old
 * @param {number} wanted no less than `old`
 * @returns {[number, number][][]}
 */
function weightsOf(old, wanted) {
  return Array.from({ length: wanted }, (_, place) => {
    const centre = ((place + 0.5) * old) / wanted;
    /** @type {[number, number][]} */
    const terms = [];
    for (let i = Math.floor(centre - 2); i < centre + 2; i++) {
      if (i >= 0 && i < old) terms.push([i, cubic(i + 0.5 - centre)]);
    }
    const sum = terms.reduce((total, [, weight]) => total + weight, 0);
    return terms.map(([i, weight]) => [i, weight / sum]);
  });
}

/** Cubic convolution with a = -0.5. @param {number} x */
function cubic(x) {
  const far = Math.abs(x);
  if (far < 1) return (1.5 * far - 2.5) * far * far + 1;
  return far < 2 ? (((far - 5) * far + 8) * far - 4) * -0.5 : 0;
}
