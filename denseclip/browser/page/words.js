// Words as people type them, and their embeddings: what denseclip.clip.vocabulary and denseclip.runtime.graphs do.

export const MOST_NAMES = 300;

const clean = (name) => name.split(/\s+/u).filter(Boolean).join(' ');
const key = (name) => name.toLowerCase();

/**
 * Read "road; car = automobile, vehicle; sky".
 *
 * Classes are separated by ";" or lines, further names follow "=" and are separated by ",". A single line of names with
 * commas and neither ";" nor "=" is a list of classes, too.
 *
 * @returns {{name: string, names: string[]}[]}
 * @throws {Error} with a sentence for people.
 */
export function parseWords(text) {
  let entries = text.split(/[;\n]/u).map((entry) => entry.trim()).filter(Boolean);
  if (entries.length === 1 && !entries[0].includes('=') && entries[0].includes(',')) {
    entries = entries[0].split(',').map((entry) => entry.trim()).filter(Boolean);
  }
  if (!entries.length) throw new Error("Name at least one class, for example 'road; sky'.");
  const owners = new Map();
  const classes = entries.map((entry) => {
    const cut = entry.indexOf('=');
    const name = clean(cut < 0 ? entry : entry.slice(0, cut));
    const more = cut < 0 ? [] : entry.slice(cut + 1).split(',').map(clean).filter(Boolean);
    if (!name) throw new Error(`'${entry}' has no name before '='.`);
    const names = [...new Map([name, ...more].reverse().map((one) => [key(one), one])).values()].reverse();
    const own = [name, ...names.filter((one) => key(one) !== key(name))];
    for (const one of own) {
      const owner = owners.get(key(one));
      if (owner !== undefined) {
        throw new Error(owner === name || one === owner ? `'${one}' is listed twice; keep one of them.`
          : `'${one}' names both '${owner}' and '${name}'; keep one of them.`);
      }
      owners.set(key(one), name);
    }
    return {name, names: own};
  });
  if (owners.size > MOST_NAMES) throw new Error(`These are ${owners.size} names; this page takes ${MOST_NAMES}.`);
  return classes;
}

/**
 * One embedding for each group of prompts: the mean direction, at the mean length where words merge by "length".
 *
 * @param {Float32Array[]} rows - of prompts, group by group.
 * @param {number[]} counts - prompts of each group.
 * @param {boolean} keepLength - whether the mean length stays; else rows have length one.
 * @returns {Float32Array[]}
 */
export function mergeRows(rows, counts, keepLength) {
  let start = 0;
  return counts.map((count) => {
    const part = rows.slice(start, start += count);
    if (count === 1 && keepLength) return part[0];
    const lengths = part.map(norm);
    const mean = new Float64Array(part[0].length);
    part.forEach((row, k) => row.forEach((value, d) => { mean[d] += value / Math.max(lengths[k], 1e-12) / count; }));
    const wanted = keepLength ? lengths.reduce((sum, one) => sum + one, 0) / count : 1;
    const factor = wanted / Math.max(norm(mean), 1e-12);
    return Float32Array.from(mean, (value) => value * factor);
  });
}

const norm = (row) => Math.sqrt(row.reduce((sum, value) => sum + value * value, 0));
