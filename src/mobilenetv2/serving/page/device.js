// A model computed in this browser by LiteRT.js: by WebAssembly, or by WebGPU where that is faster.

import { floatGraph } from "./float_graph.js";
import { ServerError } from "./server.js";
import { say } from "./words.js";

/**
 * @typedef {{data: Float32Array, height: number, width: number, channels: number}} FeatureMap
 * @typedef {{logits: Float32Array, features: Float32Array, map: FeatureMap}} Outputs of one photo
 * @typedef {{name: string, labels: string[], outputs: string, size: number[], explain: boolean,
 *   preprocessing: import("./resize.js").Preprocessing, why_not: string,
 *   device: {model: string, bytes: number | null, head: string, config: string,
 *     weights: string} | null}} Model an entry of page.json
 * @typedef {{fetchBytes: (path: string, onProgress?: import("./server.js").OnProgress) =>
 *   Promise<Uint8Array>, onProgress?: import("./server.js").OnProgress}} Page
 */

const RUNTIME = new URL("../vendor/litert/litert.js", import.meta.url);
const WASM = new URL("../vendor/litert/wasm/", import.meta.url);
/** Most threads: a network of this size is not faster with more. */
const MOST_THREADS = 4;
/** Largest difference of a logit on a GPU, as a share of the largest logit. */
const CLOSE = 0.02;
/** Runs of which the fastest counts, when WebAssembly and WebGPU are compared. */
const RUNS = 3;

const NOTICE = /^(VERBOSE|INFO|WARNING):/;

/** LiteRT.js, loaded once. @type {Promise<{lib: any, threads: number}> | null} */
let runtime = null;

/** Load LiteRT.js, with threads where the page may share memory. */
function loadRuntime() {
  runtime ??= startRuntime().catch((error) => {
    runtime = null; // the next one who asks tries again
    throw error;
  });
  return runtime;
}

async function startRuntime() {
  const lib = await import(RUNTIME.href).catch(async (error) => {
    const answer = await fetch(RUNTIME).catch(() => null);
    if (!answer) throw new ServerError(0, say("unreachable"));
    if (answer.status === 404) throw new MissingRuntime();
    throw new Error(say("device.runtime", { why: wordsOf(error) }));
  });
  // LiteRT writes its notices to the error stream, as native programs do: they are no errors.
  const printErr = (/** @type {string} */ text) =>
    NOTICE.test(text) ? console.debug(text) : console.error(text);
  Object.assign(globalThis, { Module: { printErr } }); // Emscripten takes its options from there
  const cores = globalThis.navigator.hardwareConcurrency || 1;
  const shared = globalThis.crossOriginIsolated === true && cores > 1;
  try {
    if (shared && (await lib.supportsFeature("relaxedSimd"))) {
      await lib.loadLiteRt(WASM.href, { threads: true });
      return { lib, threads: Math.min(cores, MOST_THREADS) };
    }
    await lib.loadLiteRt(WASM.href);
    return { lib, threads: 1 };
  } catch (error) {
    throw new Error(say("device.runtime", { why: wordsOf(error) }));
  }
}

/** LiteRT.js is no part of this installation. */
export class MissingRuntime extends Error {
  constructor() {
    super(say("device.missing"));
    this.name = "MissingRuntime";
  }
}

/**
 * Return a model that is ready to compute in this browser.
 * @param {Model} model
 * @param {Page} page
 */
export async function loadDevice(model, { fetchBytes, onProgress }) {
  const files = model.device;
  if (!files) throw new Error(say("place.unable", { why: model.why_not }));
  const [{ lib, threads }, bytes] = await Promise.all([
    loadRuntime(),
    fetchBytes(files.model, onProgress),
  ]);
  try {
    const cpu = await compile(lib, bytes, model, { accelerator: "wasm", threads });
    const gpu = await compileForGpu(lib, bytes, model, cpu);
    if (gpu) cpu.close();
    return new Device(model, gpu ?? cpu, gpu ? 1 : threads);
  } catch (error) {
    throw new Error(say("device.broken", { why: wordsOf(error) }));
  }
}

/** A model in this browser. Its photos are computed one after another. */
export class Device {
  /**
   * @param {Model} model
   * @param {Awaited<ReturnType<typeof compile>>} compiled
   * @param {number} threads
   */
  constructor(model, compiled, threads) {
    this.model = model;
    this.threads = threads;
    this.backend = compiled.backend;
    this.compiled = compiled;
    this.closed = false;
    /** True if it has failed on a GPU: a lost one fails again, until the model is loaded anew. */
    this.lost = false;
    /** @type {Promise<unknown>} */
    this.last = Promise.resolve();
  }

  /**
   * Return the outputs for one photo.
   * @param {Float32Array} input (height, width, channels), normalised
   * @returns {Promise<Outputs>}
   */
  run(input) {
    const wanted = this.model.size[0] * this.model.size[1] * this.model.preprocessing.mean.length;
    if (this.closed) return Promise.reject(new Error(say("device.closed")));
    if (input.length !== wanted) return Promise.reject(new Error(say("device.input")));
    const result = this.last.then(() => this.compiled.run(input));
    // Who asked for it is told of a failure; the next one is computed.
    this.last = result.catch(() => (this.lost ||= this.backend === "webgpu"));
    return result;
  }

  /** Give its memory back, when what was asked for is computed. */
  close() {
    if (this.closed) return;
    this.closed = true;
    this.last.then(() => this.compiled.close());
  }
}

/**
 * Compile a graph for the processor or the GPU.
 * @param {any} lib LiteRT.js
 * @param {Uint8Array} bytes
 * @param {Model} model
 * @param {{accelerator: "wasm" | "webgpu", threads: number}} how
 */
async function compile(lib, bytes, model, { accelerator, threads }) {
  const compiled = await lib.loadAndCompile(bytes, {
    accelerator,
    cpuOptions: { numThreads: threads },
    gpuOptions: { precision: "fp32" },
  });
  const shape = [1, ...model.size, model.preprocessing.mean.length];
  return {
    backend: accelerator,
    complete: accelerator === "wasm" || compiled.isFullyAccelerated,
    close: () => compiled.delete(),
    /** @param {Float32Array} input @returns {Promise<Outputs>} */
    async run(input) {
      const tensor = new lib.Tensor(input, shape);
      try {
        const [{ name }] = compiled.getInputDetails();
        return await outputsOf(await compiled.run({ [name]: tensor }));
      } finally {
        tensor.delete();
      }
    },
  };
}

/**
 * Return the numbers of tensors, and give the tensors' memory back.
 * @param {Record<string, any>} tensors
 * @returns {Promise<Outputs>}
 */
async function outputsOf(tensors) {
  try {
    const [, height, width, channels] = tensors.map.type.layout.dimensions;
    const [logits, features, data] = await Promise.all(
      [tensors.logits, tensors.features, tensors.map].map((tensor) => tensor.data()),
    );
    return { logits, features, map: { data, height, width, channels } };
  } finally {
    for (const tensor of Object.values(tensors)) tensor.delete();
  }
}

/**
 * Return the graph on a GPU, if there is one that computes all of it, right, and faster.
 *
 * Drivers differ: the same picture is computed on both before a GPU is trusted with photos.
 * @param {any} lib LiteRT.js
 * @param {Uint8Array} bytes
 * @param {Model} model
 * @param {Awaited<ReturnType<typeof compile>>} cpu
 */
async function compileForGpu(lib, bytes, model, cpu) {
  const found = lib.getWebGpuDevice();
  // A fallback is a GPU that the processor imitates.
  if (!found || found.adapterInfo?.isFallbackAdapter) return null;
  let gpu = null;
  try {
    const graph = floatGraph(bytes);
    gpu = await compile(lib, graph, model, { accelerator: "webgpu", threads: 1 });
    const picture = testPicture(model);
    const [right, same] = [await timed(cpu, picture), await timed(gpu, picture)];
    if (gpu.complete && close(right.logits, same.logits) && same.ms < right.ms) return gpu;
  } catch {
    // The processor computes it as well: a GPU that fails is no fault of the page.
  }
  gpu?.close();
  return null;
}

/** @param {Model} model */
function testPicture(model) {
  const { size, preprocessing } = model;
  const input = new Float32Array(size[0] * size[1] * preprocessing.mean.length);
  return input.map((_, i) => Math.sin(i * 0.37) + Math.sin(i * 0.0011));
}

/**
 * Return the logits for a picture, and the milliseconds of the fastest run.
 * @param {Awaited<ReturnType<typeof compile>>} compiled
 * @param {Float32Array} picture
 */
async function timed(compiled, picture) {
  let ms = Infinity;
  /** @type {Float32Array} */
  let logits = new Float32Array();
  for (let i = 0; i < RUNS; i++) {
    const begin = performance.now();
    ({ logits } = await compiled.run(picture));
    ms = Math.min(ms, performance.now() - begin);
  }
  return { logits, ms };
}

/** @param {Float32Array} right @param {Float32Array} found */
function close(right, found) {
  const largest = right.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  return right.every((value, i) => Math.abs(value - found[i]) <= CLOSE * largest);
}

/** @param {unknown} error */
function wordsOf(error) {
  return error instanceof Error ? error.message : String(error);
}
