// Logits to probabilities and answers, as model/outputs.py, and heat maps, as evaluation/gradcam.py.

/**
 * @typedef {{data: Float32Array, height: number, width: number, channels: number}} FeatureMap
 *   The last feature map of one photo, after its activation and before pooling, in rows.
 * @typedef {{pooling: string, outputs: string, hidden: {activation: string}[]}} Classifier
 *   `spec.classifier` of a model's config.json.
 * @typedef {Map<string, {shape: number[], data: ArrayLike<number>}>} Tensors
 */

const MOST_ANSWERS = 5;

/** Every sixteenth colour of the colour map 'plasma' (S. van der Walt and N. Smith, CC0). */
// prettier-ignore
const COLOURS = [
  [13, 8, 135], [49, 5, 150], [76, 2, 161], [102, 0, 167], [126, 3, 168], [149, 17, 162],
  [169, 35, 150], [187, 53, 135], [203, 71, 120], [217, 89, 106], [230, 108, 92], [240, 127, 79],
  [248, 148, 65], [253, 171, 51], [253, 195, 40], [249, 221, 37], [240, 249, 33],
];

/** Interval in which an activation's derivative is 1. @type {Record<string, number[]>} */
const BOUNDS = { none: [-Infinity, Infinity], relu: [0, Infinity], relu6: [0, 6] };

/**
 * Return a probability for each class.
 * @param {ArrayLike<number>} logits one for each class; a single one with outputs 'logit'
 * @param {string} outputs 'softmax', 'sigmoid' or 'logit', which gives two classes
 * @returns {Float64Array}
 */
export function probabilities(logits, outputs) {
  const values = Float64Array.from(logits);
  if (!values.every(Number.isFinite)) {
    throw new Error(
      "the model's outputs are not finite (NaN or infinity); its weights are damaged, or too " +
        "large for what computes them",
    );
  }
  if (outputs === "softmax") return softmax(values);
  if (outputs === "sigmoid") return values.map(sigmoid);
  if (outputs === "logit") return Float64Array.of(sigmoid(-values[0]), sigmoid(values[0]));
  throw new Error(`outputs '${outputs}' are unknown; this page and the server do not fit together`);
}

/** @param {Float64Array} logits */
function softmax(logits) {
  const largest = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  const powers = logits.map((logit) => Math.exp(logit - largest));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}

/** @param {number} logit */
function sigmoid(logit) {
  return logit >= 0 ? 1 / (1 + Math.exp(-logit)) : Math.exp(logit) / (1 + Math.exp(logit));
}

/**
 * Return the classes that answer for a photo, the most probable first.
 * @param {Float64Array} values probabilities
 * @param {string} outputs with 'sigmoid' only classes above 0.5 answer, which may be none
 * @param {string[]} labels
 * @param {number} [count] most answers; by default 5, with 'sigmoid' all
 */
export function best(values, outputs, labels, count) {
  let order = [...values.keys()].sort((a, b) => values[b] - values[a]);
  if (outputs === "sigmoid") order = order.filter((index) => values[index] > 0.5);
  const most = count ?? (outputs === "sigmoid" ? order.length : MOST_ANSWERS);
  return order
    .slice(0, most)
    .map((index) => ({ index, label: labels[index], probability: values[index] }));
}

/**
 * Return the gradient of a class's logit with respect to the pooled features.
 * @param {Tensors} tensors `hidden.0.weight` ... and `classifier.weight`, (outputs, inputs) each
 * @param {Classifier} classifier
 * @param {FeatureMap} map hidden layers pass the gradient through the units that it activates
 * @param {number} index index of the class; with outputs 'logit' the first has the negative
 * @returns {Float64Array}
 */
export function classWeights(tensors, classifier, map, index) {
  let values = pooled(map, classifier.pooling);
  const active = classifier.hidden.map(({ activation }, layer) => {
    const [low, high] = BOUNDS[activation];
    const bias = tensors.get(`hidden.${layer}.bias`);
    values = times(need(tensors, `hidden.${layer}.weight`), values);
    if (bias) values = values.map((value, unit) => value + bias.data[unit]);
    const on = Array.from(values, (value) => low < value && value < high);
    values = values.map((value) => Math.min(high, Math.max(low, value)));
    return on;
  });
  const last = need(tensors, "classifier.weight");
  const sign = classifier.outputs === "logit" ? 2 * index - 1 : 1;
  let gradient = row(last, classifier.outputs === "logit" ? 0 : index).map((x) => sign * x);
  for (let layer = active.length - 1; layer >= 0; layer--) {
    const passed = gradient.map((value, unit) => (active[layer][unit] ? value : 0));
    gradient = timesRows(passed, need(tensors, `hidden.${layer}.weight`));
  }
  return gradient;
}

/**
 * Return the heat map of a class: the positive part of the weighted sum of channels, from 0 to 1.
 * @param {FeatureMap} map
 * @param {ArrayLike<number>} weights from classWeights
 */
export function heat(map, weights) {
  const { height, width, channels } = map;
  const evidence = new Float64Array(height * width);
  for (let place = 0; place < evidence.length; place++) {
    let sum = 0;
    for (let channel = 0; channel < channels; channel++) {
      sum += map.data[place * channels + channel] * weights[channel];
    }
    evidence[place] = sum > 0 ? sum : 0; // NaN is not above 0
  }
  const largest = evidence.reduce((a, b) => Math.max(a, b), 0);
  const usable = largest > 0 && largest < Infinity;
  const data = Float32Array.from(evidence, (value) => (usable ? value / largest : 0));
  return { data, height, width };
}

/**
 * Return the colour of a heat from 0 to 1: red, green and blue from 0 to 255, not rounded.
 * @param {number} value
 */
export function colour(value) {
  const place = Math.min(1, Math.max(0, value)) * (COLOURS.length - 1);
  const below = Math.min(Math.floor(place), COLOURS.length - 2);
  return COLOURS[below].map((from, channel) =>
    Math.fround(from + (place - below) * (COLOURS[below + 1][channel] - from)),
  );
}

/**
 * Return the mean or the maximum of each channel.
 * @param {FeatureMap} map
 * @param {string} pooling 'average' or 'max'
 */
function pooled(map, pooling) {
  const { height, width, channels, data } = map;
  const largest = pooling === "max";
  const found = new Float64Array(channels).fill(largest ? -Infinity : 0);
  for (let i = 0; i < data.length; i++) {
    const channel = i % channels;
    found[channel] = largest ? Math.max(found[channel], data[i]) : found[channel] + data[i];
  }
  return largest ? found : found.map((sum) => sum / (height * width));
}

/** @param {Tensors} tensors @param {string} name */
function need(tensors, name) {
  const found = tensors.get(name);
  if (!found) throw new Error(`the model's file of its classifier has no tensor '${name}'`);
  return found;
}

/** @param {{shape: number[], data: ArrayLike<number>}} matrix @param {number} index */
function row(matrix, index) {
  const columns = matrix.shape[1];
  return Float64Array.from({ length: columns }, (_, i) => matrix.data[index * columns + i]);
}

/** @param {{shape: number[], data: ArrayLike<number>}} matrix @param {Float64Array} vector */
function times(matrix, vector) {
  return Float64Array.from({ length: matrix.shape[0] }, (_, index) =>
    row(matrix, index).reduce((sum, weight, i) => sum + weight * vector[i], 0),
  );
}

/** @param {Float64Array} vector @param {{shape: number[], data: ArrayLike<number>}} matrix */
function timesRows(vector, matrix) {
  const columns = matrix.shape[1];
  const found = new Float64Array(columns);
  vector.forEach((value, index) => {
    for (let i = 0; i < columns; i++) found[i] += value * matrix.data[index * columns + i];
  });
  return found;
}
