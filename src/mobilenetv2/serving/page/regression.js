// Multinomial logistic regression with an L2 penalty, and the choice of the penalty.
//
// It minimises, as scikit-learn does, C times the sum of the photos' losses plus half the sum of
// the squared weights; biases are not penalised. The problem is convex: L-BFGS needs no rate.

/**
 * @typedef {{rows: Float32Array, count: number, width: number}} Table
 *   Features of photos, a row each.
 * @typedef {{weight: Float64Array, bias: Float64Array, classes: number}} Layer
 *   Weights (classes, features) in rows.
 * @typedef {() => Promise<void>} Pause called between steps, so that a page stays alive
 */

/** Values of scikit-learn's C to try, as training/initial_model.py does, the strongest first. */
export const INVERSE_PENALTIES = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3];
const MOST_FOLDS = 5;
const LEAST_STD = 1e-6;
const Z95 = 1.959963984540054;
/** Pairs of steps and changes of the gradient that L-BFGS remembers. */
const MEMORY = 10;

const noPause = async () => {};

/**
 * Return a table of the rows of a list.
 * @param {ArrayLike<number>[]} rows all of one length
 * @returns {Table}
 */
export function tableOf(rows) {
  const width = rows[0].length;
  const table = new Float32Array(rows.length * width);
  rows.forEach((row, index) => table.set(row, index * width));
  return { rows: table, count: rows.length, width };
}

/**
 * Return the layer with the smallest penalised loss.
 * @param {Table} table
 * @param {ArrayLike<number>} labels index of each row's class
 * @param {number} classes
 * @param {{inverse: number, start?: Layer, tolerance?: number, steps?: number, pause?: Pause}} how
 *   inverse is scikit-learn's C; start is a layer to begin with; the search ends where no part of
 *   the gradient of the mean loss is larger than the tolerance.
 * @returns {Promise<Layer>}
 */
export async function fit(table, labels, classes, how) {
  const { inverse, start, tolerance = 1e-5, steps = 300, pause = noPause } = how;
  const sizes = classes * table.width;
  const first = new Float64Array(sizes + classes);
  if (start) {
    first.set(start.weight);
    first.set(start.bias, sizes);
  }
  // Divided by C and the number of photos, losses and tolerances do not depend on either.
  const strength = 1 / (inverse * table.count);
  const measure = (/** @type {Float64Array} */ at) =>
    lossAndGradient(table, labels, classes, strength, at);
  const found = await minimise(measure, first, tolerance, steps, pause);
  return { weight: found.slice(0, sizes), bias: found.slice(sizes), classes };
}

/**
 * Return the logits of a layer for every row, (rows, classes).
 * @param {Table} table
 * @param {Layer} layer
 */
export function logitsOf(table, layer) {
  const { rows, count, width } = table;
  const found = new Float64Array(count * layer.classes);
  for (let row = 0; row < count; row++) {
    for (let index = 0; index < layer.classes; index++) {
      let sum = layer.bias[index];
      for (let i = 0; i < width; i++) sum += rows[row * width + i] * layer.weight[index * width + i];
      found[row * layer.classes + index] = sum;
    }
  }
  return found;
}

/**
 * Return the loss of each row, -log of its class's probability, and change logits to probabilities.
 * @param {Float64Array} logits (rows, classes)
 * @param {ArrayLike<number>} labels
 * @param {number} classes
 */
function losses(logits, labels, classes) {
  const found = new Float64Array(labels.length);
  for (let row = 0; row < labels.length; row++) {
    const values = logits.subarray(row * classes, (row + 1) * classes);
    const largest = values.reduce((a, b) => Math.max(a, b), -Infinity);
    const own = values[labels[row]];
    let sum = 0;
    for (let index = 0; index < classes; index++) {
      values[index] = Math.exp(values[index] - largest);
      sum += values[index];
    }
    for (let index = 0; index < classes; index++) values[index] /= sum;
    found[row] = Math.log(sum) + largest - own;
  }
  return found;
}

/**
 * @param {Table} table
 * @param {ArrayLike<number>} labels
 * @param {number} classes
 * @param {number} strength of the penalty
 * @param {Float64Array} at weights (classes, features), then biases
 */
function lossAndGradient(table, labels, classes, strength, at) {
  const { rows, count, width } = table;
  const sizes = classes * width;
  const layer = { weight: at.subarray(0, sizes), bias: at.subarray(sizes), classes };
  const errors = logitsOf(table, layer);
  let loss = losses(errors, labels, classes).reduce((a, b) => a + b, 0) / count;
  const gradient = new Float64Array(at.length);
  for (let i = 0; i < sizes; i++) {
    loss += (strength / 2) * at[i] * at[i];
    gradient[i] = strength * at[i];
  }
  for (let row = 0; row < count; row++) {
    for (let index = 0; index < classes; index++) {
      const error = (errors[row * classes + index] - (labels[row] === index ? 1 : 0)) / count;
      const to = index * width;
      for (let i = 0; i < width; i++) gradient[to + i] += error * rows[row * width + i];
      gradient[sizes + index] += error;
    }
  }
  return { loss, gradient };
}

/** @param {Float64Array} a @param {Float64Array} b */
function dot(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

/**
 * Return the place of the smallest loss (L-BFGS with backtracking; Nocedal and Wright, chapter 7).
 * @param {(at: Float64Array) => {loss: number, gradient: Float64Array}} measure convex
 * @param {Float64Array} at where to begin
 * @param {number} tolerance
 * @param {number} steps
 * @param {Pause} pause
 */
async function minimise(measure, at, tolerance, steps, pause) {
  /** @type {{step: Float64Array, change: Float64Array, curvature: number}[]} */
  const memory = [];
  let here = measure(at);
  for (let count = 0; count < steps; count++) {
    if (here.gradient.every((part) => Math.abs(part) <= tolerance)) break;
    await pause();
    const direction = descent(here.gradient, memory);
    const slope = dot(direction, here.gradient);
    let length = memory.length ? 1 : 1 / Math.sqrt(dot(here.gradient, here.gradient));
    let next = at;
    let there = here;
    for (; length > 1e-12; length /= 2) {
      next = at.map((value, i) => value + length * direction[i]);
      there = measure(next);
      if (there.loss <= here.loss + 1e-4 * length * slope) break;
    }
    if (!(there.loss < here.loss)) break; // a smaller loss cannot be told from rounding
    const step = next.map((value, i) => value - at[i]);
    const change = there.gradient.map((value, i) => value - here.gradient[i]);
    const curvature = dot(step, change);
    if (curvature > 1e-12 * dot(change, change)) memory.push({ step, change, curvature });
    if (memory.length > MEMORY) memory.shift();
    at = next;
    here = there;
  }
  return at;
}

/**
 * Return L-BFGS's direction.
 * @param {Float64Array} gradient
 * @param {{step: Float64Array, change: Float64Array, curvature: number}[]} memory the oldest first
 */
function descent(gradient, memory) {
  const direction = gradient.map((part) => -part);
  const shares = new Float64Array(memory.length);
  for (let i = memory.length - 1; i >= 0; i--) {
    const { step, change, curvature } = memory[i];
    shares[i] = dot(step, direction) / curvature;
    for (let k = 0; k < direction.length; k++) direction[k] -= shares[i] * change[k];
  }
  const last = memory.at(-1);
  if (last) {
    const scale = last.curvature / dot(last.change, last.change);
    for (let k = 0; k < direction.length; k++) direction[k] *= scale;
  }
  memory.forEach(({ step, change, curvature }, i) => {
    const share = shares[i] - dot(change, direction) / curvature;
    for (let k = 0; k < direction.length; k++) direction[k] += share * step[k];
  });
  return direction;
}

/**
 * Return the mean and the spread of each feature; a spread of 0 becomes 1e-6.
 * @param {Table} table
 */
export function spreadOf(table) {
  const { rows, count, width } = table;
  const mean = new Float64Array(width);
  const std = new Float64Array(width);
  for (let i = 0; i < rows.length; i++) mean[i % width] += rows[i] / count;
  for (let i = 0; i < rows.length; i++) std[i % width] += (rows[i] - mean[i % width]) ** 2 / count;
  return { mean, std: std.map((square) => Math.max(Math.sqrt(square), LEAST_STD)) };
}

/**
 * Return standardised features.
 * @param {Table} table
 * @param {{mean: Float64Array, std: Float64Array}} spread
 * @returns {Table}
 */
function standardised(table, { mean, std }) {
  const rows = table.rows.map((value, i) => (value - mean[i % table.width]) / std[i % table.width]);
  return { ...table, rows };
}

/**
 * Return some rows of a table, with their labels.
 * @param {Table} table
 * @param {ArrayLike<number>} labels
 * @param {number[]} places
 */
function part(table, labels, places) {
  const { rows, width } = table;
  const found = tableOf(places.map((place) => rows.subarray(place * width, (place + 1) * width)));
  return { table: found, labels: Int32Array.from(places, (place) => labels[place]) };
}

/**
 * Return the fold of each row: every class is spread evenly over all folds.
 *
 * Neighbours stay together: photos that a camera took in a row are nearly the same photo, and
 * would tell each other's class.
 * @param {ArrayLike<number>} labels
 * @param {number} classes
 * @param {number} [most] largest number of folds; no more than the smallest class has photos
 */
export function foldsOf(labels, classes, most = MOST_FOLDS) {
  const sizes = new Int32Array(classes);
  for (let row = 0; row < labels.length; row++) sizes[labels[row]]++;
  const folds = Math.min(most, ...sizes);
  const seen = new Int32Array(classes);
  return Int32Array.from(labels, (label) => Math.floor((seen[label]++ * folds) / sizes[label]));
}

/**
 * Return a layer for given features, and what cross-validation says of it.
 * @param {Table} table features as the network gives them
 * @param {ArrayLike<number>} labels every class has at least two rows
 * @param {number} classes
 * @param {{onProgress?: (share: number) => void, pause?: Pause}} [how]
 */
export async function teach(table, labels, classes, how = {}) {
  const { onProgress = () => {}, pause = noPause } = how;
  const folds = foldsOf(labels, classes);
  const count = Math.max(...folds) + 1;
  const all = [...folds.keys()];
  const tries = INVERSE_PENALTIES.map((inverse) => ({
    inverse,
    loss: 0,
    answers: new Int32Array(labels.length),
  }));
  const fits = (count + 1) * tries.length;
  let done = 0;
  for (let fold = 0; fold < count; fold++) {
    const train = part(table, labels, all.filter((place) => folds[place] !== fold));
    const held = all.filter((place) => folds[place] === fold);
    const test = part(table, labels, held);
    const spread = spreadOf(train.table);
    const rows = standardised(train.table, spread);
    const testRows = standardised(test.table, spread);
    /** @type {Layer | undefined} */
    let start;
    for (const one of tries) {
      const { inverse } = one;
      start = await fit(rows, train.labels, classes, { inverse, start, tolerance: 1e-4, pause });
      const found = logitsOf(testRows, start);
      one.loss += losses(found, test.labels, classes).reduce((a, b) => a + b, 0);
      held.forEach((place, row) => (one.answers[place] = largestOf(found, row, classes)));
      onProgress(++done / fits);
    }
  }
  const chosen = tries.reduce((a, b) => (b.loss < a.loss ? b : a));
  const spread = spreadOf(table);
  const { inverse } = chosen;
  const layer = await fit(standardised(table, spread), labels, classes, { inverse, pause });
  onProgress(1);
  const wrong = all.filter((place) => chosen.answers[place] !== labels[place]);
  const right = labels.length - wrong.length;
  return {
    layer: unstandardised(layer, spread),
    inverse,
    folds: count,
    right,
    images: labels.length,
    accuracy: right / labels.length,
    interval: wilson(right, labels.length),
    loss: chosen.loss / labels.length,
    wrong: wrong.map((place) => ({ place, answer: chosen.answers[place] })),
  };
}

/**
 * Return the index of a row's largest value, the first one of equals.
 * @param {Float64Array} values (rows, classes)
 * @param {number} row
 * @param {number} classes
 */
function largestOf(values, row, classes) {
  const own = values.subarray(row * classes, (row + 1) * classes);
  return own.indexOf(own.reduce((a, b) => Math.max(a, b), -Infinity));
}

/**
 * Return the layer that does to features what the given one does to standardised ones, float32.
 * @param {Layer} layer
 * @param {{mean: Float64Array, std: Float64Array}} spread
 */
function unstandardised(layer, { mean, std }) {
  const width = mean.length;
  const weight = Float32Array.from(layer.weight, (value, i) => value / std[i % width]);
  const bias = Float32Array.from(layer.bias, (value, index) => {
    const own = weight.subarray(index * width, (index + 1) * width);
    return value - own.reduce((sum, w, i) => sum + w * mean[i], 0);
  });
  return { weight, bias };
}

/**
 * Return Wilson's 95% interval of a share, which holds near 0 and 1 and for few trials as well.
 * @param {number} right
 * @param {number} trials
 */
export function wilson(right, trials) {
  if (trials === 0) return [0, 1];
  const share = right / trials;
  const square = Z95 ** 2 / trials;
  const centre = (share + square / 2) / (1 + square);
  const half = Math.sqrt(share * (1 - share) * square + square ** 2 / 4) / (1 + square);
  return [Math.max(0, centre - half), Math.min(1, centre + half)];
}
