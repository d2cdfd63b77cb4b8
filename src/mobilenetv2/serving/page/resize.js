// Preprocessing of a photo for the network.
//
// From equal pixels it makes the same bytes as images/preprocess.py does by Pillow. The pixels of a
// JPEG, WebP or AVIF file are the browser's, which may decode it differently: an AVIF with
// transparency by up to 17 levels in Chromium.
//
// Pillow resizes 8-bit images in two passes, one for each direction, with weights rounded to 22
// bits after the point and sums of 32-bit integers. A browser's own resize differs by several
// levels, and so would the answers.

/**
 * @typedef {{width: number, height: number, data: Uint8ClampedArray | Uint8Array}} Pixels
 *   An upright photo, red, green, blue and alpha; alpha is not read.
 * @typedef {{size: number[], resize: number[], fit: string, central_fraction: number,
 *   interpolation: string, mean: number[], std: number[]}} Preprocessing
 *   The record of spec/records.py; sizes are [height, width].
 * @typedef {{width: number, height: number, channels: number, data: Uint8ClampedArray}} Picture
 */

const PRECISION = 22;
const HALF = 1 << (PRECISION - 1);
/** Most bytes that resizing may take, as images/memory.py counts them. */
const MOST = 512 * 1024 ** 2;
const NARROW = 16;

/** @param {number} x */
const sinc = (x) => (x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI));

/** Cubic convolution with a = -0.5. @param {number} x */
function bicubic(x) {
  const far = Math.abs(x);
  if (far < 1) return (1.5 * far - 2.5) * far * far + 1;
  return far < 2 ? (((far - 5) * far + 8) * far - 4) * -0.5 : 0;
}

/** @type {Record<string, {support: number, weight: (x: number) => number}>} */
const FILTERS = {
  box: { support: 0.5, weight: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  bilinear: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: { support: 2, weight: bicubic },
  lanczos: { support: 3, weight: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
};

/**
 * Return a number rounded to a whole one, halves to the even one, as Python's round() does.
 * @param {number} x
 */
export function roundHalfEven(x) {
  const below = Math.floor(x);
  if (x - below !== 0.5) return Math.round(x);
  return below % 2 === 0 ? below : below + 1;
}

/**
 * Return the network's picture of a photo: central part, resize, centre crop.
 * @param {Pixels} pixels
 * @param {Preprocessing} record
 * @returns {Uint8Array} (height, width, channels) at record.size, in rows.
 */
export function prepare(pixels, record) {
  let picture = centralPart(pixels, record);
  const [width, height] = resizedTo(picture.width, picture.height, record);
  const [needHeight, needWidth] = record.size;
  if (record.fit === "none") {
    if (picture.width < needWidth || picture.height < needHeight) {
      throw new Error(
        `${picture.width} x ${picture.height} pixels are fewer than the network's ${needWidth} x ` +
          `${needHeight}, and its preprocessing does not resize; enlarge the photo first`,
      );
    }
  } else {
    requireMemory(picture, width, height);
    picture = resize(picture, width, height, record.interpolation);
  }
  const left = roundHalfEven((picture.width - needWidth) / 2);
  const top = roundHalfEven((picture.height - needHeight) / 2);
  const cropped = crop(picture, left, top, needWidth, needHeight);
  return new Uint8Array(cropped.data.buffer, cropped.data.byteOffset, cropped.data.length);
}

/**
 * Return (value - mean) / std in float32, each step rounded to float32 as NumPy does it.
 * @param {ArrayLike<number>} bytes (height, width, channels)
 * @param {Preprocessing} record
 */
export function normalise(bytes, record) {
  const channels = record.mean.length;
  // A table for each channel: a byte has 256 values, a picture 150,000 bytes.
  const tables = record.mean.map((value, channel) => {
    const mean = Math.fround(value);
    const std = Math.fround(record.std[channel]);
    return Float32Array.from({ length: 256 }, (_, byte) => Math.fround(byte - mean) / std);
  });
  const found = new Float32Array(bytes.length);
  for (let i = 0; i < found.length; i += channels) {
    for (let channel = 0; channel < channels; channel++) {
      found[i + channel] = tables[channel][bytes[i + channel]];
    }
  }
  return found;
}

/**
 * Return a picture of another size, as Pillow's Image.resize makes it.
 * @param {Picture} picture
 * @param {number} width
 * @param {number} height
 * @param {string} interpolation 'nearest' or one of FILTERS
 * @returns {Picture}
 */
export function resize(picture, width, height, interpolation) {
  if (picture.width === width && picture.height === height) return picture;
  if (interpolation === "nearest") return nearest(picture, width, height);
  const filter = FILTERS[interpolation];
  if (!filter) throw new Error(`interpolation '${interpolation}' is unknown`);
  const shrinkage = picture.height - height;
  // Pillow's own rule for the order of the passes. Sums are rounded to bytes in between, so that
  // the order shows in the result.
  if (shrinkage > 2 * Math.max(0, picture.width - width)) {
    return across(down(picture, height, filter), width, filter);
  }
  return down(across(picture, width, filter), height, filter);
}

/**
 * Return the photo's central part with the network's channels, one byte each.
 * @param {Pixels} pixels
 * @param {Preprocessing} record
 * @returns {Picture}
 */
function centralPart(pixels, record) {
  const share = record.central_fraction;
  const [width, height] = [pixels.width, pixels.height].map((side) =>
    share < 1 ? Math.max(1, roundHalfEven(side * share)) : side,
  );
  const left = roundHalfEven((pixels.width - width) / 2);
  const top = roundHalfEven((pixels.height - height) / 2);
  const channels = record.mean.length;
  const data = new Uint8ClampedArray(width * height * channels);
  let to = 0;
  for (let y = 0; y < height; y++) {
    let from = 4 * ((top + y) * pixels.width + left);
    for (let x = 0; x < width; x++, from += 4) {
      const red = pixels.data[from];
      const green = pixels.data[from + 1];
      const blue = pixels.data[from + 2];
      if (channels === 1) {
        data[to++] = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16; // BT.601
      } else {
        data[to++] = red;
        data[to++] = green;
        data[to++] = blue;
      }
    }
  }
  return { width, height, channels, data };
}

/**
 * Return [width, height] after resizing.
 * @param {number} width
 * @param {number} height
 * @param {Preprocessing} record
 */
function resizedTo(width, height, record) {
  if (record.fit === "none") return [width, height];
  const [toHeight, toWidth] = record.resize;
  if (record.fit === "stretch") return [toWidth, toHeight];
  // One side is exact; the other is truncated for squares (torchvision), else rounded (timm).
  const whole = toWidth === toHeight ? Math.trunc : roundHalfEven;
  if (width * toHeight <= height * toWidth) {
    return [toWidth, Math.max(toHeight, whole((toWidth * height) / width))];
  }
  return [Math.max(toWidth, whole((toHeight * width) / height)), toHeight];
}

/**
 * Throw if resizing would take more memory than the server allows it.
 * @param {Picture} picture
 * @param {number} width
 * @param {number} height
 */
function requireMemory(picture, width, height) {
  const needed = 4 * width * (picture.height + height);
  if (needed <= MOST) return;
  const sides = [picture.width, picture.height];
  const narrow = Math.max(...sides) > NARROW * Math.min(...sides);
  throw new Error(
    `${picture.width} x ${picture.height} pixels, resized to ${width} x ${height} for this ` +
      `network, take ${Math.round(needed / 1e6)} MB, more than the limit of ` +
      `${Math.round(MOST / 1e6)} MB; ` +
      `${narrow ? "it is too long and narrow: crop it" : "crop it or make it smaller"} first`,
  );
}

/**
 * Return a part of a picture.
 * @param {Picture} picture
 * @param {number} left
 * @param {number} top
 * @param {number} width
 * @param {number} height
 * @returns {Picture}
 */
function crop(picture, left, top, width, height) {
  const { channels } = picture;
  const data = new Uint8ClampedArray(width * height * channels);
  for (let y = 0; y < height; y++) {
    const from = ((top + y) * picture.width + left) * channels;
    data.set(picture.data.subarray(from, from + width * channels), y * width * channels);
  }
  return { width, height, channels, data };
}

/**
 * Return the weights of the old pixels in each new one, rounded to 22 bits after the point.
 * @param {number} from number of old pixels
 * @param {number} to number of new ones
 * @param {{support: number, weight: (x: number) => number}} filter
 */
function taps(from, to, filter) {
  const scale = from / to;
  const stretch = Math.max(scale, 1);
  const support = filter.support * stretch;
  const most = Math.ceil(support) * 2 + 1;
  const starts = new Int32Array(to);
  const counts = new Int32Array(to);
  const weights = new Int32Array(to * most);
  for (let at = 0; at < to; at++) {
    const centre = (at + 0.5) * scale;
    const start = Math.max(0, Math.trunc(centre - support + 0.5));
    const count = Math.min(from, Math.trunc(centre + support + 0.5)) - start;
    const exact = [];
    let sum = 0;
    for (let i = 0; i < count; i++) {
      const weight = filter.weight((i + start - centre + 0.5) * (1 / stretch));
      exact.push(weight);
      sum += weight;
    }
    exact.forEach((weight, i) => {
      const share = (sum === 0 ? weight : weight / sum) * 2 ** PRECISION;
      weights[at * most + i] = Math.trunc(share < 0 ? share - 0.5 : share + 0.5);
    });
    starts[at] = start;
    counts[at] = count;
  }
  return { starts, counts, weights, most };
}

/**
 * Return a picture resized in width alone.
 * @param {Picture} picture
 * @param {number} width
 * @param {{support: number, weight: (x: number) => number}} filter
 * @returns {Picture}
 */
function across(picture, width, filter) {
  if (picture.width === width) return picture;
  const { starts, counts, weights, most } = taps(picture.width, width, filter);
  const { height, channels, data: old } = picture;
  const data = new Uint8ClampedArray(width * height * channels);
  let to = 0;
  for (let y = 0; y < height; y++) {
    const row = y * picture.width * channels;
    for (let x = 0; x < width; x++) {
      const first = row + starts[x] * channels;
      for (let channel = 0; channel < channels; channel++) {
        let sum = HALF;
        let from = first + channel;
        for (let i = x * most, end = i + counts[x]; i < end; i++, from += channels) {
          sum = (sum + old[from] * weights[i]) | 0;
        }
        data[to++] = sum >> PRECISION;
      }
    }
  }
  return { width, height, channels, data };
}

/**
 * Return a picture resized in height alone.
 * @param {Picture} picture
 * @param {number} height
 * @param {{support: number, weight: (x: number) => number}} filter
 * @returns {Picture}
 */
function down(picture, height, filter) {
  if (picture.height === height) return picture;
  const { starts, counts, weights, most } = taps(picture.height, height, filter);
  const { width, channels, data: old } = picture;
  const length = width * channels;
  const data = new Uint8ClampedArray(length * height);
  const sums = new Int32Array(length);
  for (let y = 0; y < height; y++) {
    sums.fill(HALF);
    for (let i = 0; i < counts[y]; i++) {
      const weight = weights[y * most + i];
      const row = (starts[y] + i) * length;
      for (let x = 0; x < length; x++) sums[x] += old[row + x] * weight;
    }
    for (let x = 0; x < length; x++) data[y * length + x] = sums[x] >> PRECISION;
  }
  return { width, height, channels, data };
}

/**
 * Return a picture whose pixels are the old ones below the centres of the new ones.
 * @param {Picture} picture
 * @param {number} width
 * @param {number} height
 * @returns {Picture}
 */
function nearest(picture, width, height) {
  const columns = places(picture.width, width);
  const rows = places(picture.height, height);
  const { channels, data: old } = picture;
  const data = new Uint8ClampedArray(width * height * channels);
  let to = 0;
  for (const row of rows) {
    for (const column of columns) {
      const from = (row * picture.width + column) * channels;
      for (let channel = 0; channel < channels; channel++) data[to++] = old[from + channel];
    }
  }
  return { width, height, channels, data };
}

/**
 * Return the old pixel of each new one; a running sum, since Pillow's rounding is that of a sum.
 * @param {number} from
 * @param {number} to
 */
function places(from, to) {
  const step = from / to;
  const found = new Int32Array(to);
  for (let at = 0, place = step * 0.5; at < to; at++, place += step) {
    found[at] = Math.min(from - 1, Math.trunc(place));
  }
  return found;
}
