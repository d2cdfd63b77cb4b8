// Elements of the page that the panel "Teach it in the browser" is made of.

/**
 * Return an element with properties and children.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, unknown>} [properties]
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/**
 * Return a button.
 * @param {string} label
 * @param {() => unknown} does
 */
export function button(label, does) {
  const made = element("button", { type: "button" }, label);
  made.addEventListener("click", does);
  return made;
}

/** Return true if files can be dropped here: a phone has no other window to drag them from. */
export function canDrop() {
  return !matchMedia("(hover: none) and (pointer: coarse)").matches;
}

/**
 * Change a text only if it is another one: a screen reader says every change.
 * @param {HTMLElement} target
 * @param {string} text
 */
export function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

/**
 * Show the probabilities of a taught head, the largest first.
 * @param {HTMLElement} bars
 * @param {{probabilities: Float64Array, labels: string[]}} answer
 * @param {string} doubt why it is no sure answer; '' for a sure one
 */
export function showAnswer(bars, { probabilities, labels }, doubt) {
  const order = [...probabilities.keys()].sort((a, b) => probabilities[b] - probabilities[a]);
  const rows = order.map((index) => {
    const value = probabilities[index];
    const percent = `${(100 * value).toFixed(1)}%`;
    const meter = element("meter", { max: 1, value, ariaLabel: `${labels[index]} ${percent}` });
    const row = element("div", { className: "teach-bar" });
    row.dataset.label = labels[index];
    row.dataset.probability = String(value);
    row.append(element("span", {}, labels[index]), meter, element("span", {}, percent));
    return row;
  });
  const words = element("p", { className: "unsure" }, doubt);
  bars.replaceChildren(...(doubt ? [words] : []), ...rows);
}
