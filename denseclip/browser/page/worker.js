// The model, apart from the page so that the page stays awake. Nothing leaves the browser: the page may load its own
// files and ask nobody else (see its Content-Security-Policy).
import * as ort from './lib/ort.wasm.bundle.min.mjs';
import {Tokenizer} from './lib/tokenizers.min.mjs';
import {labelMap} from './labels.js';
import {extend, prepare} from './pictures.js';
import {mergeRows, parseWords} from './words.js';

const AT_ONCE = 64, REMEMBERED = 16;
const SESSION = {executionProviders: ['wasm'], logSeverityLevel: 3}; // errors; graphs in float16 warn at each start
let manifest = null, image = null, text = null, tokenizer = null;
const known = new Map(); // embeddings of the last vocabularies

async function bytes(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path} of this page is not there (${answer.status}).`);
  const content = new Uint8Array(await answer.arrayBuffer());
  if (content[0] !== 0x1f || content[1] !== 0x8b) return content; // some servers unpack .gz themselves
  const unpacked = new Blob([content]).stream().pipeThrough(new DecompressionStream('gzip'));
  return new Uint8Array(await new Response(unpacked).arrayBuffer());
}

async function part(name) {
  const content = await bytes(`model/${manifest.files[name]}`);
  if (!crypto.subtle) return content; // only pages over https and from this machine may compute sums
  const sum = new Uint8Array(await crypto.subtle.digest('SHA-256', content));
  const found = [...sum].map((value) => value.toString(16).padStart(2, '0')).join('');
  if (found !== manifest.sha256[name]) throw new Error(`model/${manifest.files[name]} is damaged; load the page again.`);
  return content;
}

async function start(say) {
  const json = async (path) => JSON.parse(new TextDecoder().decode(await bytes(path)));
  manifest = await json('model/manifest.json');
  say('loading onnxruntime');
  ort.env.wasm.wasmBinary = await bytes('lib/ort-wasm-simd-threaded.wasm.gz');
  ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency || 1) : 1;
  const open = async (name) => ort.InferenceSession.create(await part(name), SESSION);
  say('loading the picture side');
  image = await open('image');
  say('loading the text side');
  text = await open('text');
  tokenizer = new Tokenizer(JSON.parse(new TextDecoder().decode(await part('tokenizer'))), {});
  const own = manifest.vocabulary ? Object.entries(manifest.vocabulary.classes) : [];
  return {model: manifest.model, words: own.map(([name, more]) => [name, more.join(', ')].filter(Boolean).join(' = '))};
}

async function sentences(prompts) {
  const tokens = prompts.map((prompt) => tokenizer.encode(prompt).ids), rows = [];
  tokens.forEach((ids, k) => {
    if (ids.length > manifest.words.most_tokens) {
      throw new Error(`'${prompts[k].slice(0, 80)}' has ${ids.length} tokens, the model takes ${manifest.words.most_tokens}.`);
    }
  });
  for (let at = 0; at < tokens.length; at += AT_ONCE) {
    const some = tokens.slice(at, at + AT_ONCE), length = Math.max(...some.map((ids) => ids.length));
    const filled = new BigInt64Array(some.length * length).fill(BigInt(manifest.words.pad_id));
    some.forEach((ids, k) => ids.forEach((id, place) => { filled[k * length + place] = BigInt(id); }));
    const found = (await text.run({tokens: new ort.Tensor('int64', filled, [some.length, length])})).embeddings;
    const size = found.dims[1];
    for (let k = 0; k < some.length; k++) rows.push(found.data.slice(k * size, (k + 1) * size));
  }
  return rows;
}

async function embeddings(groups) {
  const key = JSON.stringify(groups);
  if (!known.has(key)) {
    const {templates, merge} = manifest.words;
    const rows = await sentences(groups.flat().flatMap((name) => templates.map((one) => one.replaceAll('{}', name))));
    const counts = groups.map((group) => group.length);
    known.set(key, merge === 'length' ? mergeRows(rows, counts.map((count) => count * templates.length), true)
      : mergeRows(mergeRows(rows, groups.flat().map(() => templates.length), false), counts, false));
  }
  const found = known.get(key);
  known.delete(key);
  known.set(key, found);
  if (known.size > REMEMBERED) known.delete(known.keys().next().value);
  return found;
}

async function label({pixels, words, background}) {
  const began = performance.now();
  const classes = parseWords(words), names = classes.map((entry) => entry.name), groups = classes.map((entry) => entry.names);
  const others = background.split(/[;,\n]/u).map((name) => name.trim()).filter(Boolean);
  if (others.length) {
    names.push('background');
    groups.push(others);
  }
  const rows = await embeddings(groups), size = rows[0].length, flat = new Float32Array(rows.length * size);
  rows.forEach((row, k) => flat.set(row, k * size));
  const seen = extend({...pixels, channels: 4}), input = prepare(seen, manifest.picture);
  const feeds = {images: new ort.Tensor('float32', input.planes, [1, 3, input.tall, input.wide]),
    text: new ort.Tensor('float32', flat, [rows.length, size])};
  const {scores} = await image.run(feeds, ['scores']);
  const whole = labelMap(scores.data, scores.dims.slice(1), input, seen.height, seen.width);
  const labels = cut(whole, seen.width, pixels.height, pixels.width);
  return {labels, names, background: others.length > 0, width: pixels.width, height: pixels.height,
    seconds: (performance.now() - began) / 1000};
}

function cut(labels, wide, height, width) { // strips were extended
  if (labels.length === height * width) return labels;
  const out = new Uint16Array(height * width);
  for (let y = 0; y < height; y++) out.set(labels.subarray(y * wide, y * wide + width), y * width);
  return out;
}

let turn = Promise.resolve(); // one after another: a graph runs once at a time
self.addEventListener('message', ({data}) => {
  turn = turn.then(async () => {
    try {
      const work = data.kind === 'start' ? start((step) => self.postMessage({kind: 'step', step})) : label(data);
      self.postMessage({kind: data.kind, number: data.number, found: await work});
    } catch (error) {
      self.postMessage({kind: 'error', number: data.number, reason: error.message});
    }
  });
});
