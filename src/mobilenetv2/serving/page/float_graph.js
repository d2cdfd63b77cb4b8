// A LiteRT graph with weights of 8 bits as one with weights of 32 bits, for GPUs.
//
// LiteRT's WebGPU delegate does not take a DEQUANTIZE of weights with a scale for each channel.
// Numbers in the file are little-endian, places in it are FlatBuffers': a table begins with the
// distance to its list of fields, and a field that refers holds the distance to what it refers to.

const DEQUANTIZE = 6;
const FLOAT32 = 0;
const INT8 = 9;
/** Bytes that the numbers of a weight are aligned to, as in the file. */
const ALIGNED = 16;
/** Numbers of the fields of tables, from LiteRT's schema. */
const MODEL = { codes: 1, subgraphs: 2, buffers: 4 };
const CODE = { old: 0, builtin: 3 };
const SUBGRAPH = { tensors: 0, operators: 3 };
const TENSOR = { shape: 0, type: 1, buffer: 2, quantization: 4 };
const QUANTIZATION = { scale: 2, axis: 6 };
const OPERATOR = { code: 0, inputs: 1, outputs: 2 };

/** Places in a file. */
class File {
  /** @param {Uint8Array} bytes */
  constructor(bytes) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Return the place of a table's field; 0 if it has its default. */
  field(/** @type {number} */ table, /** @type {number} */ number) {
    const fields = table - this.view.getInt32(table, true);
    const entry = 4 + 2 * number;
    if (entry >= this.view.getUint16(fields, true)) return 0;
    const distance = this.view.getUint16(fields + entry, true);
    return distance && table + distance;
  }

  /** Return the place that a place refers to. */
  follow(/** @type {number} */ place) {
    return place + this.view.getUint32(place, true);
  }

  /** Let a place refer to another one behind it. */
  refer(/** @type {number} */ place, /** @type {number} */ to) {
    this.view.setUint32(place, to - place, true);
  }

  /** Return the length of a table's list and the place of its first entry. */
  list(/** @type {number} */ table, /** @type {number} */ number) {
    const field = this.field(table, number);
    if (!field) return { length: 0, first: 0 };
    const place = this.follow(field);
    return { length: this.view.getUint32(place, true), first: place + 4 };
  }

  /** Return the places of the tables in a table's list. */
  tables(/** @type {number} */ table, /** @type {number} */ number) {
    const { length, first } = this.list(table, number);
    return Array.from({ length }, (_, i) => this.follow(first + 4 * i));
  }

  /** Return a table's list of 32-bit integers. */
  integers(/** @type {number} */ table, /** @type {number} */ number) {
    const { length, first } = this.list(table, number);
    return Array.from({ length }, (_, i) => this.view.getInt32(first + 4 * i, true));
  }

  /** Return an integer field; its default is 0. */
  integer(/** @type {number} */ table, /** @type {number} */ number) {
    const field = this.field(table, number);
    return field && this.view.getInt32(field, true);
  }
}

/**
 * @typedef {{operator: number, output: number, tensor: number, buffer: number,
 *   input: number}} Weight
 *   A weight of 8 bits: the DEQUANTIZE that widens it, that one's output, and the weight's own
 *   tensor and buffer as places, and its number.
 */

/**
 * Return a graph that has its weights of 8 bits in float32, with the same results.
 * @param {Uint8Array} bytes the file of a graph, which is left as it is
 */
export function floatGraph(bytes) {
  const old = new File(bytes);
  const model = old.follow(0);
  const [subgraph] = old.tables(model, MODEL.subgraphs);
  const weights = weightsOf(old, model, subgraph);
  const data = weights.map((weight) => widened(old, weight));
  const align = (/** @type {number} */ place) => Math.ceil(place / ALIGNED) * ALIGNED;
  const size = data.reduce((sum, values) => sum + values.byteLength + 2 * ALIGNED, 0);
  const made = new File(new Uint8Array(align(bytes.length) + ALIGNED + size));
  made.bytes.set(bytes);
  // A table without fields stands for no quantisation: its list of fields, then the table.
  const none = align(bytes.length) + 4;
  made.view.setUint16(none - 4, 4, true);
  made.view.setUint16(none - 2, 4, true);
  made.view.setInt32(none, 4, true);
  let place = none + 4;
  weights.forEach((weight, i) => {
    place = align(place + 4);
    made.view.setUint32(place - 4, data[i].byteLength, true);
    made.bytes.set(new Uint8Array(data[i].buffer), place);
    made.refer(made.field(weight.buffer, 0), place - 4);
    made.view.setInt8(made.field(weight.tensor, TENSOR.type), FLOAT32);
    made.refer(made.field(weight.tensor, TENSOR.quantization), none);
    place += data[i].byteLength;
  });
  withoutOperators(made, subgraph, weights);
  return made.bytes;
}

/**
 * Return the weights that a DEQUANTIZE widens.
 * @param {File} file
 * @param {number} model
 * @param {number} subgraph
 * @returns {Weight[]}
 */
function weightsOf(file, model, subgraph) {
  const codes = file.tables(model, MODEL.codes).map((code) => {
    const field = file.field(code, CODE.old);
    return Math.max(field && file.view.getInt8(field), file.integer(code, CODE.builtin));
  });
  const buffers = file.tables(model, MODEL.buffers);
  const tensors = file.tables(subgraph, SUBGRAPH.tensors);
  return file.tables(subgraph, SUBGRAPH.operators).flatMap((operator) => {
    if (codes[file.integer(operator, OPERATOR.code)] !== DEQUANTIZE) return [];
    const [input] = file.integers(operator, OPERATOR.inputs);
    const [output] = file.integers(operator, OPERATOR.outputs);
    const tensor = tensors[input];
    const type = file.field(tensor, TENSOR.type);
    const buffer = buffers[file.integer(tensor, TENSOR.buffer)];
    const isWeight = type && file.view.getInt8(type) === INT8 && file.field(buffer, 0);
    return isWeight ? [{ operator, output, tensor, buffer, input }] : [];
  });
}

/**
 * Return the numbers of a weight: each integer times the scale of its channel.
 * @param {File} file
 * @param {Weight} weight
 */
function widened(file, { tensor, buffer }) {
  const record = file.follow(file.field(tensor, TENSOR.quantization));
  const { length: channels, first } = file.list(record, QUANTIZATION.scale);
  const scales = Float32Array.from({ length: channels }, (_, i) =>
    file.view.getFloat32(first + 4 * i, true),
  );
  const shape = file.integers(tensor, TENSOR.shape);
  const inner = shape
    .slice(file.integer(record, QUANTIZATION.axis) + 1)
    .reduce((product, side) => product * side, 1);
  const { length, first: begin } = file.list(buffer, 0);
  return Float32Array.from({ length }, (_, i) => {
    return file.view.getInt8(begin + i) * scales[Math.floor(i / inner) % channels];
  });
}

/**
 * Take the operators out that widen weights; those behind them take the weights themselves.
 * @param {File} file
 * @param {number} subgraph
 * @param {Weight[]} weights
 */
function withoutOperators(file, subgraph, weights) {
  const gone = new Set(weights.map(({ operator }) => operator));
  const instead = new Map(weights.map(({ output, input }) => [output, input]));
  const operators = file.tables(subgraph, SUBGRAPH.operators);
  const kept = operators.filter((operator) => !gone.has(operator));
  const { first } = file.list(subgraph, SUBGRAPH.operators);
  // They move to the front of their list: what it refers to stays behind it, as it has to.
  kept.forEach((operator, i) => file.refer(first + 4 * i, operator));
  file.view.setUint32(first - 4, kept.length, true);
  for (const operator of kept) {
    const { length, first: begin } = file.list(operator, OPERATOR.inputs);
    for (let place = begin; place < begin + 4 * length; place += 4) {
      const input = file.view.getInt32(place, true);
      file.view.setInt32(place, instead.get(input) ?? input, true);
    }
  }
}
