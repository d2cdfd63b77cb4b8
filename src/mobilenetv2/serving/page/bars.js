// Answers as bars: a class, its probability and a bar for each.

import { button, element } from "./teach_elements.js";
import { percent, say } from "./words.js";

/**
 * @typedef {import("./server.js").Prediction} Prediction
 */

/**
 * Return the bars of an answer.
 * @param {Prediction[]} predictions
 * @param {((one: Prediction) => void) | null} choose called with a bar that is pressed; null for
 *   bars that cannot be
 */
export function bars(predictions, choose) {
  const rows = predictions.map((one) => {
    const bar = element("span", { className: "bar-fill" });
    bar.style.width = `${(100 * one.probability).toFixed(2)}%`;
    const parts = [
      element("span", { className: "bar-label" }, one.label),
      element("span", { className: "bar-percent" }, percent(one.probability)),
      element("span", { className: "bar" }, bar),
    ];
    let row;
    if (choose) {
      row = button("", () => choose(one));
      row.ariaPressed = "false";
      row.title = say("heat.hint");
      row.append(...parts);
    } else {
      row = element("div", {}, ...parts);
    }
    row.classList.add("bar-row");
    const { index, label, probability } = one;
    Object.assign(row.dataset, { index, label, probability });
    return element("li", {}, row);
  });
  return element("ol", { className: "bars" }, ...rows);
}

/**
 * Return what an answer is, in words: a class with its probability, or that it is unsure.
 * @param {Prediction[]} predictions
 * @param {number} threshold least probability of an answer that is sure
 */
export function answerWords(predictions, threshold) {
  const [first] = predictions;
  const doubt = doubtWords(predictions, threshold);
  return first ? [`${first.label} ${percent(first.probability)}`, doubt].join(" ").trim() : doubt;
}

/**
 * Return why the answer of a taught head is no sure one, in words; '' for a sure one.
 * @param {Iterable<number>} probabilities
 * @param {number} threshold
 */
export function taughtDoubt(probabilities, threshold) {
  const probability = Math.max(...probabilities);
  return doubtWords([{ index: 0, label: "", probability }], threshold);
}

/**
 * Return why an answer is no sure one, in words; '' for a sure one.
 * @param {Prediction[]} predictions
 * @param {number} threshold
 */
export function doubtWords([first], threshold) {
  // With outputs 'sigmoid' classes up to 0.5 do not answer, so that there may be none.
  if (!first) return say("card.none", { threshold: percent(0.5, 0) });
  if (first.probability >= threshold) return "";
  return say("card.unsure", { threshold: percent(threshold, 0) });
}
