// Safetensors files: a length, a header in JSON, and the tensors' bytes one after another.
//
// A file is data from elsewhere: every length and place in its header is checked before it is used.

/**
 * @typedef {Float64Array | Float32Array | Int32Array | Uint32Array | Int16Array | Uint16Array |
 *   Int8Array | Uint8Array | BigInt64Array | BigUint64Array} Values
 * @typedef {{dtype: string, shape: number[], data: Values}} Tensor
 *   Data of F16 and BF16 are their bits.
 */

const LONGEST_HEADER = 100_000_000;
const METADATA = "__metadata__";

/** Types in the order in which the safetensors package writes them, the last one first. */
const ARRAYS = {
  BOOL: Uint8Array,
  U8: Uint8Array,
  I8: Int8Array,
  I16: Int16Array,
  U16: Uint16Array,
  F16: Uint16Array,
  BF16: Uint16Array,
  I32: Int32Array,
  U32: Uint32Array,
  F32: Float32Array,
  F64: Float64Array,
  I64: BigInt64Array,
  U64: BigUint64Array,
};

/** @param {string} what */
const damaged = (what) => new Error(`damaged safetensors file: ${what}; fetch it again`);

/** @param {unknown} value @returns {value is number} */
const isCount = (value) => Number.isSafeInteger(value) && /** @type {number} */ (value) >= 0;

/**
 * Return the tensors and the metadata of a file.
 * @param {ArrayBuffer | Uint8Array} file
 * @returns {{tensors: Map<string, Tensor>, metadata: Record<string, string>}}
 */
export function read(file) {
  const bytes =
    file instanceof ArrayBuffer
      ? new Uint8Array(file)
      : new Uint8Array(file.buffer, file.byteOffset, file.byteLength);
  if (bytes.length < 8) throw damaged("it is shorter than the length of its header");
  const view = new DataView(bytes.buffer, bytes.byteOffset, 8);
  const length = Number(view.getBigUint64(0, true));
  if (length > Math.min(LONGEST_HEADER, bytes.length - 8)) throw damaged("its header has no end");
  const { [METADATA]: metadata = {}, ...entries } = parseHeader(bytes.subarray(8, 8 + length));
  if (!isTable(metadata) || !Object.values(metadata).every((text) => typeof text === "string")) {
    throw damaged("its metadata are no texts");
  }
  const content = bytes.subarray(8 + length);
  const found = Object.entries(entries).map(([name, entry]) => ({ name, ...checked(name, entry) }));
  let end = 0;
  for (const { name, from, to } of [...found].sort((a, b) => a.from - b.from || a.to - b.to)) {
    if (from !== end) throw damaged(`the place of tensor '${name}' leaves a gap or an overlap`);
    end = to;
  }
  if (end !== content.length) throw damaged(`its tensors have ${end} bytes, not ${content.length}`);
  const tensors = new Map();
  for (const { name, dtype, shape, from, to } of found) {
    // A copy begins at an address that suits any type.
    const data = new ARRAYS[dtype](content.slice(from, to).buffer);
    tensors.set(name, { dtype, shape, data });
  }
  return { tensors, metadata: /** @type {Record<string, string>} */ (metadata) };
}

/**
 * Return a file of tensors, byte for byte as the safetensors package writes it.
 * @param {Map<string, Tensor>} tensors
 * @param {Record<string, string>} metadata
 * @returns {Uint8Array}
 */
export function write(tensors, metadata) {
  const types = Object.keys(ARRAYS);
  const order = [...tensors].sort(
    ([a, one], [b, other]) =>
      types.indexOf(other.dtype) - types.indexOf(one.dtype) || (a < b ? -1 : 1),
  );
  /** @type {Record<string, unknown>} */
  const header = Object.keys(metadata).length ? { [METADATA]: metadata } : {};
  let end = 0;
  for (const [name, { dtype, shape, data }] of order) {
    header[name] = { dtype, shape, data_offsets: [end, end + data.byteLength] };
    end += data.byteLength;
  }
  const text = new TextEncoder().encode(JSON.stringify(header));
  const length = Math.ceil(text.length / 8) * 8;
  const file = new Uint8Array(8 + length + end);
  new DataView(file.buffer).setBigUint64(0, BigInt(length), true);
  file.fill(0x20, 8, 8 + length);
  file.set(text, 8);
  let place = 8 + length;
  for (const [, { data }] of order) {
    file.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), place);
    place += data.byteLength;
  }
  return file;
}

/** @param {unknown} value @returns {value is Record<string, unknown>} */
function isTable(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** @param {Uint8Array} bytes @returns {Record<string, unknown>} */
function parseHeader(bytes) {
  let header;
  try {
    header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw damaged(`its header is no JSON (${error instanceof Error ? error.message : error})`);
  }
  if (!isTable(header)) throw damaged("its header is no JSON object");
  return header;
}

/**
 * Return type, shape and place of a tensor whose numbers fit each other.
 * @param {string} name
 * @param {unknown} entry
 */
function checked(name, entry) {
  if (!isTable(entry)) throw damaged(`the entry of tensor '${name}' is no JSON object`);
  const { dtype, shape, data_offsets: offsets } = entry;
  if (typeof dtype !== "string" || !Object.hasOwn(ARRAYS, dtype)) {
    throw new Error(`tensor '${name}' has the type ${JSON.stringify(dtype)}, which is not read`);
  }
  if (!Array.isArray(shape) || !shape.every(isCount)) {
    throw damaged(`tensor '${name}' has an impossible shape`);
  }
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount)) {
    throw damaged(`tensor '${name}' has an impossible place`);
  }
  const [from, to] = /** @type {number[]} */ (offsets);
  const type = /** @type {keyof typeof ARRAYS} */ (dtype);
  const size = shape.reduce((product, side) => product * side, ARRAYS[type].BYTES_PER_ELEMENT);
  if (size !== to - from) throw damaged(`tensor '${name}' has ${to - from} bytes, not ${size}`);
  return { dtype: type, shape: /** @type {number[]} */ (shape), from, to };
}
