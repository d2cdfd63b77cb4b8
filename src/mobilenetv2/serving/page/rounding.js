// Weights of 8 bits with a scale for each output channel, as model/int8.py rounds them.
//
// The browser computes a network with such weights, and what is taught learns from its features. A
// model that is saved with the same weights gives the same answers: with those of float32 some
// probabilities would change by a tenth.

import { roundHalfEven } from "./resize.js";

const MOST = 127;
const SMALLEST = 2 ** -126;

/**
 * Return a weight's values after rounding.
 * @param {Float32Array} weight
 * @param {number[]} shape (out, in, height, width)
 */
export function rounded(weight, shape) {
  const [channels] = shape;
  const size = weight.length / channels;
  const area = shape[2] * shape[3];
  const found = new Float32Array(weight.length);
  for (let channel = 0; channel < channels; channel++) {
    const own = weight.subarray(channel * size, (channel + 1) * size);
    const largest = own.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const scale = Math.fround(Math.max(largest / MOST, SMALLEST));
    for (let first = 0; first < size; first += area) {
      const exact = Array.from(own.subarray(first, first + area), (value) =>
        Math.max(-MOST, Math.min(MOST, value / scale)),
      );
      balanced(exact).forEach((level, i) => (found[channel * size + first + i] = level * scale));
    }
  }
  return found;
}

/**
 * Return for each number one of its two neighbouring integers, so that they keep their sum.
 * @param {number[]} exact
 */
function balanced(exact) {
  const levels = exact.map(roundHalfEven);
  const errors = exact.map((value, i) => levels[i] - value);
  const excess = roundHalfEven(errors.reduce((a, b) => a + b, 0));
  const sign = Math.sign(excess);
  // Those whose errors add most to the excess take their other neighbour.
  errors
    .map((error, i) => ({ i, share: error * sign }))
    .sort((a, b) => b.share - a.share)
    .slice(0, Math.abs(excess))
    .forEach(({ i, share }) => (levels[i] -= share > 0 ? sign : 0));
  return levels;
}
