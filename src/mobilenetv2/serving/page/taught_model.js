// The model folder of a taught head: config.json, model.safetensors and README.md, in a zip.

import { read, write } from "./safetensors.js";

const TRAINED_HERE = "trained here";
const MOST_STEPS = 16;
const HEAD = /^(hidden\.|classifier\.)/;

/**
 * Return the name of a model folder that every system's file names allow; "model" if nothing is left.
 * @param {string} name
 */
export function folderName(name) {
  const allowed = name.normalize("NFC").replace(/[^\p{L}\p{M}\p{N}._ -]+/gu, "_");
  const inside = allowed.slice(0, 64).replace(/^[ ._-]+|[ .]+$/g, "");
  return /^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/i.test(inside) ? `_${inside}` : inside || "model";
}

/**
 * Return the config of the base network with the taught head.
 * @param {any} base config.json of the base model
 * @param {import("./teach.js").Taught} taught
 */
export function taughtConfig(base, taught) {
  const { result, labels, model } = taught;
  const { pooling = "average" } = base.spec.classifier ?? {};
  const before = base.origin ?? { source: TRAINED_HERE };
  const name = before.source === TRAINED_HERE ? model : before.source;
  const step =
    `A new classifier on the frozen network of ${name}, taught in a browser on ` +
    `${result.images} photos (${labels.length} classes); convolutions have the weights that the ` +
    "browser computed with.";
  const history = [step, ...(before.history ?? [])];
  return {
    ...base,
    spec: {
      ...base.spec,
      classes: labels.length,
      background: null,
      classifier: { pooling, hidden: [], bias: true, outputs: "softmax" },
    },
    labels: { names: labels, wordnet: [], background: null },
    origin: {
      source: TRAINED_HERE,
      sha256: null,
      dialect: null,
      licence: before.licence ?? null,
      folded: before.folded ?? false,
      note: "",
      rebased_on: before.rebased_on ?? "",
      preprocessing: "",
      untrained_classifier: false,
      // The last step says where the weights come from.
      history: history.length > MOST_STEPS
        ? [...history.slice(0, MOST_STEPS - 1), history[history.length - 1]]
        : history,
    },
    metrics: {
      "cross-validation.top1": result.accuracy,
      "cross-validation.loss": result.loss,
      "cross-validation.images": result.images,
    },
  };
}

/**
 * Return the weights of the base network with the taught head.
 * @param {ArrayBuffer | Uint8Array} weights model.safetensors of the base model: weights that
 *   the browser computes with, so that the folder gives the answers that were seen
 * @param {import("./teach.js").Taught} taught
 */
export function taughtWeights(weights, taught) {
  const { tensors, metadata } = read(weights);
  /** @type {[string, import("./safetensors.js").Tensor][]} */
  const body = [];
  for (const [name, tensor] of tensors) {
    const { dtype, data } = tensor;
    if (HEAD.test(name)) continue;
    if (!(data instanceof Float32Array)) {
      throw new Error(`the model's weight '${name}' is ${dtype}, not F32; load the page again`);
    }
    body.push([name, tensor]);
  }
  return write(new Map([...body, ...taught.tensors]), metadata);
}

/**
 * Return text as Markdown that shows it as it is.
 * @param {string} text
 */
function markdown(text) {
  const line = text.replace(/[\p{Cc}\s]+/gu, " ").trim();
  return line
    .replace(/[\\`*_[\]|~#]/g, "\\$&")
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replace(/:\/\/|www\.|@/gi, "$&<!-- -->");
}

/**
 * Return the model card.
 * @param {string} name
 * @param {ReturnType<typeof taughtConfig>} config
 * @param {import("./teach.js").Taught} taught
 */
export function card(name, config, taught) {
  const { result } = taught;
  const licence = (config.origin.licence ?? "").toLowerCase();
  const known = /^(?!(y|yes|n|no|on|off|true|false|null|unknown)$)[a-z][a-z0-9.+-]{0,63}$/;
  const percent = (/** @type {number} */ share) => `${(100 * share).toFixed(1)}%`;
  const [low, high] = result.interval;
  return [
    "---",
    "library_name: mobilenetv2",
    "pipeline_tag: image-classification",
    `license: ${known.test(licence) ? licence : "other"}`,
    "---",
    "",
    `# ${markdown(name)}`,
    "",
    `Tells ${taught.labels.length} classes apart: ${taught.labels.map(markdown).join(", ")}.`,
    "",
    "## Measured",
    "",
    `Of ${result.images} photos, each left out in turn (${result.folds} parts), ${result.right} ` +
      `were answered right: ${percent(result.accuracy)} (95% interval ${percent(low)} to ` +
      `${percent(high)}, n = ${result.images}). This is an estimate from these photos alone; ` +
      "measure it with photos from elsewhere: `mobilenetv2 evaluate PHOTOS --model THIS_FOLDER`.",
    "",
    "## Where it comes from",
    "",
    `Licence: ${markdown(config.origin.licence ?? "unknown")}`,
    "",
    "How its weights came about, the latest step first:",
    "",
    ...config.origin.history.map((/** @type {string} */ step) => `- ${markdown(step)}`),
    "",
    "## Use",
    "",
    "    mobilenetv2 predict PHOTO --model THIS_FOLDER",
    "",
  ].join("\n");
}

/**
 * Return the files of the model folder by their paths in the zip.
 * @param {string} name of the folder
 * @param {import("./teach.js").Taught} taught
 * @param {{config: ArrayBuffer | Uint8Array, weights: ArrayBuffer | Uint8Array}} base its files
 * @returns {Record<string, Uint8Array>}
 */
export function modelFolder(name, taught, base) {
  const config = taughtConfig(JSON.parse(new TextDecoder().decode(base.config)), taught);
  const bytes = (/** @type {string} */ text) => new TextEncoder().encode(text);
  return {
    [`${name}/config.json`]: bytes(`${JSON.stringify(config, null, 2)}\n`),
    [`${name}/model.safetensors`]: taughtWeights(base.weights, taught),
    [`${name}/README.md`]: bytes(card(name, config, taught)),
  };
}
