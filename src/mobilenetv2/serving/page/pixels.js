// Pixels of a photo's file, upright, as the browser decodes it.

import { remainingOrientation, upright } from "./orientation.js";
import { say } from "./words.js";

/** Least width and height of a photo in pixels, as images/decode.py has it. */
const LEAST = 4;

/**
 * Return the pixels of a photo, upright and on white where it is transparent.
 * @param {Blob & {name?: string}} blob
 * @param {string} [unreadable] key of the sentence for a photo that this browser cannot read
 * @returns {Promise<import("./resize.js").Pixels>}
 */
export async function readPixels(blob, unreadable = "pixels.unreadable") {
  const name = blob.name ?? "";
  let picture, orientation;
  try {
    orientation = await remainingOrientation(blob);
    // Colours are left as the file has them, as Pillow does.
    const options = { imageOrientation: "from-image", colorSpaceConversion: "none" };
    picture = await createImageBitmap(blob, /** @type {ImageBitmapOptions} */ (options));
  } catch {
    // The browser's own words say no more than that it failed.
    throw new Error(say(unreadable, { name }));
  }
  try {
    const { width, height } = picture;
    if (Math.min(width, height) < LEAST) {
      throw new Error(say("pixels.few", { name, width, height, side: LEAST }));
    }
    const pixels = pixelsOf(picture, width, height);
    return orientation === 1 ? pixels : upright(pixels, orientation);
  } finally {
    picture.close();
  }
}

/**
 * Return a file that this browser shows upright: the photo's own, or one made of its turned pixels.
 * @param {File} file
 */
export async function uprightFile(file) {
  try {
    if ((await remainingOrientation(file)) === 1) return file;
    return await jpegFile(await readPixels(file), file.name);
  } catch {
    return file; // the element that is to show it tells that it cannot
  }
}

/**
 * Return the pixels of what can be drawn.
 * @param {CanvasImageSource} source
 * @param {number} width
 * @param {number} height
 * @param {OffscreenCanvas} [canvas] one to use again, of that size
 */
export function pixelsOf(source, width, height, canvas = new OffscreenCanvas(width, height)) {
  const options = { willReadFrequently: true, alpha: false };
  const context = /** @type {OffscreenCanvasRenderingContext2D | null} */ (
    canvas.getContext("2d", options)
  );
  // A browser gives no canvas of more pixels than its memory allows.
  if (!context) throw new Error(say("pixels.unreadable", { name: "" }));
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(source, 0, 0);
  return { width, height, data: context.getImageData(0, 0, width, height).data };
}

/**
 * Return pixels as a JPEG file.
 * @param {import("./resize.js").Pixels} pixels
 * @param {string} name
 */
export async function jpegFile({ width, height, data }, name) {
  const canvas = new OffscreenCanvas(width, height);
  const image = new ImageData(new Uint8ClampedArray(data), width, height);
  canvas.getContext("2d")?.putImageData(image, 0, 0);
  const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.95 });
  return new File([blob], name, { type: "image/jpeg" });
}
