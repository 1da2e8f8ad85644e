// Label maps from the scores of the graph: what denseclip.runtime.label_maps does for a picture in one window.

/** Bilinear resizing along one axis: sources and weights of each place. */
function bilinear(length, out) {
  return Array.from({length: out}, (_, k) => {
    const place = Math.max((k + 0.5) * (length / out) - 0.5, 0);
    const low = Math.min(Math.floor(place), length - 1), share = place - low;
    return [[low, 1 - share], [Math.min(low + 1, length - 1), share]];
  });
}

// From the graph's places to the network's input, then from its part without padding to the picture: up to four sources.
function axis(length, input, valid, out) {
  const first = bilinear(length, input);
  if (valid === out) return first.slice(0, valid).map(merged);
  return bilinear(valid, out).map((taps) => merged(taps.flatMap(([at, share]) =>
    first[at].map(([from, weight]) => [from, weight * share]))));
}

function merged(taps) {
  const sums = new Map();
  for (const [at, weight] of taps) if (weight) sums.set(at, (sums.get(at) || 0) + weight);
  return [...sums];
}

/**
 * The class of the largest score at every pixel, the first of equals.
 *
 * @param {Float32Array} scores - (K, h, w).
 * @param {number[]} shape - K, h, w.
 * @param {{tall: number, wide: number, valid: [number, number]}} input - what the graph has seen.
 * @param {number} height - of the picture.
 * @param {number} width - of the picture.
 * @returns {Uint16Array} (height, width)
 */
export function labelMap(scores, [classes, rows, columns], input, height, width) {
  const down = axis(rows, input.tall, input.valid[0], height);
  const across = axis(columns, input.wide, input.valid[1], width);
  const labels = new Uint16Array(height * width), strip = new Float32Array(classes * columns);
  for (let y = 0; y < height; y++) {
    strip.fill(0);
    for (const [at, weight] of down[y]) {
      for (let k = 0; k < classes; k++) {
        const from = (k * rows + at) * columns, to = k * columns;
        for (let x = 0; x < columns; x++) strip[to + x] += weight * scores[from + x];
      }
    }
    for (let x = 0; x < width; x++) {
      const taps = across[x];
      let best = -Infinity, label = 0;
      for (let k = 0; k < classes; k++) {
        let score = 0;
        for (let t = 0; t < taps.length; t++) score += taps[t][1] * strip[k * columns + taps[t][0]];
        if (score > best) { best = score; label = k; }
      }
      labels[y * width + x] = label;
    }
  }
  return labels;
}
