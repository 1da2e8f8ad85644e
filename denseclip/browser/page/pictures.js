// Pictures as the graph takes them: what denseclip.runtime.pictures and denseclip.runtime.resizing do, bit for bit.

const MOST_ASPECT = 16;
const ONE = 2048; // OpenCV's weights of 8-bit pictures are whole numbers of this part

/**
 * A picture, row by row.
 * @typedef {{data: Uint8Array|Uint8ClampedArray, height: number, width: number, channels: number}} Pixels
 */

/** Repeat the lower or right border of strips until they are at most 16 times as long as wide. */
export function extend(pixels) {
  const {data, height, width, channels} = pixels;
  const shortest = Math.ceil(Math.max(height, width) / MOST_ASPECT);
  const tall = Math.max(height, shortest), wide = Math.max(width, shortest);
  if (tall === height && wide === width) return pixels;
  const out = new Uint8Array(tall * wide * channels);
  for (let y = 0; y < tall; y++) {
    for (let x = 0; x < wide; x++) {
      const from = (Math.min(y, height - 1) * width + Math.min(x, width - 1)) * channels;
      for (let c = 0; c < channels; c++) out[(y * wide + x) * channels + c] = data[from + c];
    }
  }
  return {data: out, height: tall, width: wide, channels};
}

/** Height and width of the network's input. */
export function inputSize(height, width, steps) {
  if (steps.shorter !== null) {
    const short = Math.min(height, width);
    return [Math.floor(steps.shorter * height / short), Math.floor(steps.shorter * width / short)];
  }
  if (!steps.keep_ratio) return [steps.resize[1], steps.resize[0]];
  const factor = Math.min(Math.max(...steps.resize) / Math.max(height, width),
    Math.min(...steps.resize) / Math.min(height, width));
  return [height, width].map((side) => Math.max(1, Math.floor(side * factor + 0.5)));
}

/**
 * The input of the graph.
 *
 * @param {Pixels} pixels - RGBA or RGB.
 * @param {object} steps - "picture" of the manifest.
 * @returns {{planes: Float32Array, tall: number, wide: number, valid: [number, number]}} planes (3, tall, wide), and
 *   the height and width of the part without padding.
 */
export function prepare(pixels, steps) {
  const [height, width] = inputSize(pixels.height, pixels.width, steps);
  const small = resize(pixels, height, width);
  let [tall, wide] = [height, width].map((side) => Math.ceil(side / steps.pad_divisor) * steps.pad_divisor);
  if (steps.pad_size) [tall, wide] = [Math.max(tall, steps.pad_size[0]), Math.max(wide, steps.pad_size[1])];
  const planes = new Float32Array(3 * tall * wide).fill(steps.pad_value);
  for (let c = 0; c < 3; c++) {
    const from = steps.rgb ? c : 2 - c;
    const mean = Math.fround(steps.mean[c]), std = Math.fround(steps.std[c]);
    for (let y = 0; y < height; y++) {
      const row = (c * tall + y) * wide;
      for (let x = 0; x < width; x++) {
        planes[row + x] = Math.fround(small.data[(y * width + x) * small.channels + from] - mean) / std;
      }
    }
  }
  return {planes, tall, wide, valid: [height, width]};
}

/** A picture at another size, bilinearly, as cv2.resize makes it. */
export function resize(pixels, height, width) {
  const {data, channels} = pixels;
  if (pixels.height === height && pixels.width === width) return pixels;
  if (pixels.height === 2 * height && pixels.width === 2 * width) return halved(pixels);
  const down = weights(pixels.height, height, true), across = weights(pixels.width, width, false);
  const out = new Uint8Array(height * width * channels);
  const line = (y) => {
    const found = new Int32Array(width * channels), start = y * pixels.width;
    for (let x = 0; x < width; x++) {
      const left = (start + across.low[x]) * channels, right = (start + across.high[x]) * channels;
      for (let c = 0; c < channels; c++) {
        found[x * channels + c] = (data[left + c] * across.near[x] + data[right + c] * across.far[x]) >> 4;
      }
    }
    return found;
  };
  const lines = new Map(); // of the picture's own rows; the last two are used again
  const known = (y) => {
    if (!lines.has(y)) {
      if (lines.size > 2) lines.delete(lines.keys().next().value);
      lines.set(y, line(y));
    }
    return lines.get(y);
  };
  for (let y = 0; y < height; y++) {
    const upper = known(down.low[y]), lower = known(down.high[y]);
    const up = down.near[y], low = down.far[y], row = y * width * channels;
    for (let k = 0; k < width * channels; k++) {
      out[row + k] = (((upper[k] * up) >> 16) + ((lower[k] * low) >> 16) + 2) >> 2;
    }
  }
  return {data: out, height, width, channels};
}

function halved({data, height, width, channels}) { // OpenCV averages four pixels then
  const tall = height / 2, wide = width / 2, out = new Uint8Array(tall * wide * channels);
  for (let y = 0; y < tall; y++) {
    for (let x = 0; x < wide; x++) {
      for (let c = 0; c < channels; c++) {
        const at = (2 * y * width + 2 * x) * channels + c, below = at + width * channels;
        out[(y * wide + x) * channels + c] = (data[at] + data[at + channels] + data[below] + data[below + channels] + 2) >> 2;
      }
    }
  }
  return {data: out, height: tall, width: wide, channels};
}

// The two sources of every pixel along an axis, and their weights; rows share beyond the border, columns do not.
function weights(length, out, border) {
  const found = {low: new Int32Array(out), high: new Int32Array(out), near: new Int32Array(out), far: new Int32Array(out)};
  const scale = 1 / (out / length);
  for (let k = 0; k < out; k++) {
    const place = Math.fround((k + 0.5) * scale - 0.5), low = Math.floor(place);
    let share = Math.fround(place - low);
    if (!border && (low < 0 || low >= length - 1)) share = 0;
    found.far[k] = even(Math.fround(share * ONE));
    found.near[k] = even(Math.fround(Math.fround(1 - share) * ONE));
    found.low[k] = Math.min(Math.max(low, 0), length - 1);
    found.high[k] = Math.min(Math.max(low + 1, 0), length - 1);
  }
  return found;
}

function even(value) { // halves go to the even neighbour
  const low = Math.floor(value), rest = value - low;
  return rest > 0.5 || (rest === 0.5 && low % 2) ? low + 1 : low;
}
