// The page; the model is in worker.js. All that is shown comes in as text, never as markup.
const $ = (id) => document.getElementById(id);
const MOST_PIXELS = 25e6;
const GREY = [96, 100, 108]; // of the background, which no class gets
let colours = [], photo = null, pixels = null, stem = 'picture', found = null, sheet = null, number = 0, taken = 0;
const hidden = new Set(), waiting = new Map();
const worker = new Worker('worker.js', {type: 'module'});

function say(text, bad) {
  $('said').textContent = text;
  $('said').classList.toggle('bad', Boolean(bad));
}

function ask(kind, content, transfer = []) {
  return new Promise((resolve, reject) => {
    waiting.set(++number, {resolve, reject});
    worker.postMessage({...content, kind, number}, transfer);
  });
}

worker.addEventListener('message', ({data}) => {
  if (data.kind === 'step') {
    say(`${data.step} …`);
    return;
  }
  const {resolve, reject} = waiting.get(data.number);
  waiting.delete(data.number);
  if (data.kind === 'error') reject(new Error(data.reason)); else resolve(data.found);
});
worker.addEventListener('error', (event) => say(`The model cannot be loaded: ${event.message || 'a file of this page is missing'}.`, true));

async function start() {
  try {
    colours = await (await fetch('colours.json')).json();
    const {words} = await ask('start', {});
    if (!$('words').value) $('words').value = words.join('; ');
    $('go').disabled = false;
    say('Ready.');
  } catch (error) {
    say(`The model cannot be loaded: ${error.message}`, true);
  }
}

async function take(file) {
  if (!file) return;
  const mine = ++taken; // a large file dropped first may be read after a small one dropped second
  found = pixels = null;
  $('result').hidden = $('side').hidden = true;
  $('chosen').textContent = `${file.name || 'pasted picture'}, ${(file.size / 1e6).toFixed(1)} MB`;
  stem = (file.name || 'picture').replace(/\.[^.]*$/u, '');
  const bitmap = await createImageBitmap(file, {colorSpaceConversion: 'none', premultiplyAlpha: 'none'}).catch(() => null);
  if (mine !== taken) return;
  if (!bitmap) {
    say('This browser cannot read that file as a picture; try JPEG or PNG.', true);
    return;
  }
  photo = bitmap;
  if (photo.width * photo.height > MOST_PIXELS) {
    say(`The picture has ${(photo.width * photo.height / 1e6).toFixed(0)} million pixels; this page takes ${MOST_PIXELS / 1e6}: scale it down.`, true);
    return;
  }
  const context = new OffscreenCanvas(photo.width, photo.height).getContext('2d', {willReadFrequently: true});
  context.drawImage(photo, 0, 0);
  pixels = context.getImageData(0, 0, photo.width, photo.height);
  say('');
}

async function label() {
  if (!pixels) {
    say('Choose a photograph first.', true);
    $('image').focus();
    return;
  }
  $('go').disabled = true;
  say('Looking at the picture …');
  const mine = pixels, {data, width, height} = mine;
  try {
    const answer = await ask('label', {pixels: {data, width, height}, words: $('words').value, background: $('background').value});
    if (mine !== pixels) return; // another photograph was chosen meanwhile
    found = answer;
    hidden.clear();
    show();
    say(`${width} × ${height} pixels, ${found.seconds.toFixed(1)} s`);
  } catch (error) {
    if (mine === pixels) say(error.message, true);
  } finally {
    $('go').disabled = false;
  }
}

const colour = (k) => found.background && k === found.names.length - 1 ? GREY : colours[k % colours.length];
const percent = (share) => share && share < 0.001 ? '<0.1 %' : `${(100 * share).toFixed(1)} %`;

function areas() {
  const counts = new Array(found.names.length).fill(0);
  for (const k of found.labels) counts[k] += 1;
  return counts;
}

function show() {
  sheet = null;
  const counts = areas(), total = found.labels.length;
  const order = counts.map((_, k) => k).sort((a, b) => counts[b] - counts[a]);
  $('legend').replaceChildren(...order.map((k) => entry(k, counts[k] / total)));
  $('canvas').setAttribute('aria-label', order.map((k) => `${found.names[k]} ${percent(counts[k] / total)}`).join(', '));
  $('result').hidden = $('side').hidden = false;
  paint();
}

function entry(k, share) {
  const item = document.createElement('li'), line = document.createElement('label'), box = document.createElement('input');
  item.classList.toggle('none', !share);
  box.type = 'checkbox';
  box.checked = true;
  box.addEventListener('change', () => {
    if (box.checked) hidden.delete(k); else hidden.add(k);
    sheet = null;
    paint();
  });
  const swatch = document.createElement('span'), name = document.createElement('span'), numbers = document.createElement('span');
  swatch.className = 'swatch';
  swatch.style.background = `rgb(${colour(k).join(' ')})`;
  name.className = 'name';
  name.textContent = found.names[k];
  numbers.className = 'numbers';
  numbers.textContent = percent(share);
  line.append(box, swatch, name, numbers);
  item.append(line);
  return item;
}

// Colours of all classes that are not hidden, opaque; one number per pixel, since photographs have millions.
function coloured(values) {
  const layer = new ImageData(found.width, found.height), whole = new Uint32Array(layer.data.buffer);
  const packed = values.map((rgba) => new Uint32Array(new Uint8ClampedArray(rgba).buffer)[0]);
  for (let at = 0; at < whole.length; at++) whole[at] = packed[found.labels[at]];
  const canvas = new OffscreenCanvas(found.width, found.height);
  canvas.getContext('2d').putImageData(layer, 0, 0);
  return canvas;
}

function paint() {
  const canvas = $('canvas'), context = canvas.getContext('2d');
  canvas.width = found.width;
  canvas.height = found.height;
  context.drawImage(photo, 0, 0);
  sheet ??= coloured(found.names.map((_, k) => hidden.has(k) ? [0, 0, 0, 0] : [...colour(k), 255]));
  context.globalAlpha = $('opacity').value / 100;
  context.drawImage(sheet, 0, 0);
  context.globalAlpha = 1;
}

function save(blob, name) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  say(`${name} is saved.`);
}

const cell = (text) => `"${(/^[=+\-@\t\r]/u.test(text) ? `'${text}` : text).replaceAll('"', '""')}"`; // tables compute what begins so

function csv() {
  const counts = areas(), total = found.labels.length;
  const rows = found.names.map((name, k) => [k, cell(name), counts[k], (counts[k] / total).toFixed(6)].join(','));
  return ['label,class,pixels,share', ...rows].join('\r\n') + '\r\n';
}

function under(event) {
  const canvas = $('canvas'), box = canvas.getBoundingClientRect();
  const x = Math.floor((event.clientX - box.left) / box.width * canvas.width);
  const y = Math.floor((event.clientY - box.top) / box.height * canvas.height);
  const inside = found && x >= 0 && y >= 0 && x < found.width && y < found.height;
  $('under').textContent = inside ? found.names[found.labels[y * found.width + x]] : '';
}

$('image').addEventListener('change', () => take($('image').files[0]));
$('ask').addEventListener('submit', (event) => { event.preventDefault(); label(); });
$('words').addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && !event.shiftKey) { event.preventDefault(); if (!$('go').disabled) label(); }
});
$('opacity').addEventListener('input', () => { if (found) paint(); });
$('canvas').addEventListener('pointermove', under);
$('canvas').addEventListener('pointerleave', () => { $('under').textContent = ''; });
$('save-overlay').addEventListener('click', () => $('canvas').toBlob((blob) => save(blob, `${stem}_overlay.png`)));
// Label k is the grey k: PNGs of a canvas have eight bits, so the last of 256 classes and all beyond share one.
$('save-labels').addEventListener('click', async () => save(await coloured(found.names.map((_, k) => [k, k, k, 255]))
  .convertToBlob({type: 'image/png'}), `${stem}_labels.png`));
$('save-areas').addEventListener('click', () => save(new Blob([csv()], {type: 'text/csv'}), `${stem}_areas.csv`));
document.addEventListener('paste', (event) => take([...event.clipboardData.files][0]));
for (const name of ['dragover', 'dragleave', 'drop']) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    $('drop').classList.toggle('over', name === 'dragover');
    if (name === 'drop') take([...event.dataTransfer.files][0]);
  });
}
start();
