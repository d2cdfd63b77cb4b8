// Orientation of WebP files, for browsers that do not apply it, as Chromium.
//
// JPEG, PNG and AVIF files are turned upright by the browser itself.

/** Bit of a WebP file's header that tells of EXIF metadata, and the place of its byte. */
const HAS_EXIF = 8;
const FLAGS = 20;
/** Number of the tag that says how a photo is to be turned, and its types (16 or 32 bits). */
const TAG = 0x0112;
const SHORT = 3;
const LONG = 4;
/** A white WebP of 2 x 1 pixels that is to be turned by a quarter. */
const SAMPLE =
  "UklGRkoAAABXRUJQVlA4WAoAAAAIAAAAAQAAAAAAVlA4TAoAAAAvAQAAAEX/I/ofRVhJRhoAAABNTQAqAAAACAAB" +
  "ARIAAwAAAAEABgAAAAAAAA==";

/** True if this browser turns WebP files upright. @type {Promise<boolean> | null} */
let turns = null;

/**
 * Return the orientation (1 to 8, as in EXIF) by which a file's pixels are still to be turned after
 * the browser has decoded them; 1 if they are upright.
 * @param {Blob} blob
 */
export async function remainingOrientation(blob) {
  const head = new DataView(await blob.slice(0, FLAGS + 1).arrayBuffer());
  const isExtended =
    head.byteLength > FLAGS &&
    word(head, 0) === "RIFF" &&
    word(head, 8) === "WEBP" &&
    word(head, 12) === "VP8X";
  if (!isExtended || !(head.getUint8(FLAGS) & HAS_EXIF)) return 1;
  const orientation = webpOrientation(await blob.arrayBuffer());
  if (orientation === 1) return 1;
  turns ??= turnsWebp();
  return (await turns) ? 1 : orientation;
}

/**
 * Return the orientation in a WebP file, 1 to 8; 1 if there is none, or if it is damaged.
 * @param {ArrayBuffer} file
 */
export function webpOrientation(file) {
  const view = new DataView(file);
  try {
    for (let at = 12; at + 8 <= view.byteLength; ) {
      const size = view.getUint32(at + 4, true);
      if (word(view, at) === "EXIF") return exifOrientation(new DataView(file, at + 8, size));
      at += 8 + size + (size % 2);
    }
  } catch (error) {
    // A place beyond the end: the metadata is damaged, the photo may be fine.
    if (!(error instanceof RangeError)) throw error;
  }
  return 1;
}

/**
 * Return pixels turned upright.
 * @param {import("./resize.js").Pixels} pixels
 * @param {number} orientation of 1 to 8
 * @returns {{width: number, height: number, data: Uint8ClampedArray}}
 */
export function upright({ width, height, data }, orientation) {
  const isTransposed = orientation >= 5;
  const isMirrored = [2, 3, 7, 8].includes(orientation);
  const isUpsideDown = [3, 4, 6, 7].includes(orientation);
  const [toWidth, toHeight] = isTransposed ? [height, width] : [width, height];
  // The steps in the old pixels that one step in a new row, and one to the next row, take.
  const across = isMirrored ? -1 : 1;
  const down = isUpsideDown ? -width : width;
  const [step, next] = isTransposed ? [down, across] : [across, down];
  const first = (isMirrored ? width - 1 : 0) + (isUpsideDown ? (height - 1) * width : 0);
  const old = new Uint32Array(data.buffer, data.byteOffset, width * height);
  const made = new Uint32Array(width * height);
  let to = 0;
  for (let y = 0; y < toHeight; y++) {
    let from = first + y * next;
    for (let x = 0; x < toWidth; x++, from += step) made[to++] = old[from];
  }
  return { width: toWidth, height: toHeight, data: new Uint8ClampedArray(made.buffer) };
}

/** @param {DataView} view of a TIFF structure, as EXIF is one */
function exifOrientation(view) {
  // Some programs put the mark of a JPEG's EXIF before it.
  const start = view.byteLength > 6 && word(view, 0) === "Exif" ? 6 : 0;
  const order = view.getUint16(start);
  if (order !== 0x4949 && order !== 0x4d4d) return 1;
  const little = order === 0x4949;
  const list = start + view.getUint32(start + 4, little);
  const count = view.getUint16(list, little);
  for (let i = 0; i < count; i++) {
    const at = list + 2 + 12 * i;
    if (view.getUint16(at, little) !== TAG) continue;
    const type = view.getUint16(at + 2, little);
    let value = 1;
    if (type === SHORT) value = view.getUint16(at + 8, little);
    if (type === LONG) value = view.getUint32(at + 8, little);
    return value >= 1 && value <= 8 ? value : 1;
  }
  return 1;
}

/** Return true if this browser turns WebP files upright, by decoding one. */
async function turnsWebp() {
  const bytes = Uint8Array.from(atob(SAMPLE), (one) => one.charCodeAt(0));
  const picture = await createImageBitmap(new Blob([bytes]), { imageOrientation: "from-image" });
  const isTurned = picture.width < picture.height;
  picture.close();
  return isTurned;
}

/** @param {DataView} view @param {number} at */
function word(view, at) {
  return String.fromCharCode(...[0, 1, 2, 3].map((i) => view.getUint8(at + i)));
}
