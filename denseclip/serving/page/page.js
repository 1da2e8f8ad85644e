'use strict';
// All that is shown comes in as text, never as markup. Addresses are relative: the page may stand below any path.
const $ = (id) => document.getElementById(id);
const TITLES = {semantic: 'classes', panoptic: 'segments', instance: 'objects', anomaly: 'defects'};
const SAVES = {overlay: 'Picture, coloured', labels: 'Label map (PNG)', areas: 'Areas (CSV)', segments: 'Segments (JSON)',
  objects: 'Boxes (JSON)', mask: 'Mask (PNG)', map: 'Scores (TIFF)', json: 'All (JSON)', coco: 'COCO (JSON)', labelme: 'labelme (JSON)',
  cvat: 'CVAT (XML)', datumaro: 'Datumaro (JSON)', 'label-studio': 'Label Studio (JSON)'};
let model = null, file = null, found = null, owner = null, photo = null, hidden = new Set(), running = null, sheet = null;
let taken = 0; // pictures chosen so far: what comes late belongs to an earlier one
let other = null; // what the model beside it has found: {found, owner, sheet}

function say(text, bad) {
  $('said').textContent = text;
  $('said').classList.toggle('bad', Boolean(bad));
}

async function start() {
  try {
    model = await (await fetch('model')).json();
  } catch (error) {
    say('The server does not answer.', true);
    return;
  }
  $('model').textContent = `${model.name} gives ${model.kinds.map((kind) => TITLES[kind]).join(', ')}`;
  for (const kind of model.kinds) $('kind').add(new Option(TITLES[kind], kind));
  $('kinds').hidden = model.kinds.length < 2;
  for (const name of model.beside) $('beside').add(new Option(name, name));
  $('models').hidden = !model.beside.length;
  for (const part of document.querySelectorAll('[data-for]')) {
    part.hidden = !part.dataset.for.split(' ').some((name) => model.endpoints.includes(name));
  }
  const own = model.words.map((word) => [word.name, word.synonyms.join(', ')].filter(Boolean).join(' = ')).join('; ');
  $('words').value = own;
  $('words').disabled = !model.free_words;
  if (!model.free_words && !own) $('words').closest('label').hidden = true;
}

async function take(chosen) {
  if (!chosen) return;
  if (running) running.abort();
  const mine = ++taken;
  file = chosen;
  $('chosen').textContent = `${file.name || 'pasted picture'}, ${(file.size / 1e6).toFixed(1)} MB`;
  found = other = null;
  $('result').hidden = $('side').hidden = true;
  if (file.size > model.limits.megabytes * 1e6) {
    say(`This file is larger than the ${model.limits.megabytes} MB that this server takes.`, true);
  } else {
    say('');
  }
  const bitmap = await createImageBitmap(file).catch(() => null); // the browser cannot show it; the server may read it
  if (mine === taken) photo = bitmap;
}

function fields(name) {
  const form = new FormData();
  form.append('image', file, file.name || 'picture.png');
  const names = model.endpoints.includes('anomaly') ? ['object', 'defects']
    : model.endpoints.includes('segment') ? ['words', 'background', 'min_confidence'] : [];
  for (const name of names) {
    if (!$(name).disabled && $(name).value.trim()) form.append(name, $(name).value);
  }
  if (model.kinds.length > 1) form.append('task', $('kind').value);
  if (name) form.append('model', name);
  return form;
}

async function ask(format, form = fields()) {
  const endpoint = model.endpoints.includes('segment') ? 'segment' : model.endpoints[0];
  const headers = $('token').value ? {Authorization: `Bearer ${$('token').value}`} : {};
  const options = {method: 'POST', body: form, headers, signal: running.signal};
  const answer = await fetch(endpoint + (format ? `?format=${format}` : ''), options);
  if (answer.ok) return answer;
  if (answer.status === 401) {
    $('locked').hidden = false;
    $('token').focus();
  }
  let reason = answer.statusText;
  try { reason = (await answer.json()).detail; } catch (error) { /* a proxy answered */ }
  throw new Error(reason);
}

async function work(what, doing) {
  if (!file) {
    say('Choose a photograph first.', true);
    $('image').focus();
    return;
  }
  if (running) running.abort();
  const mine = running = new AbortController();
  $('go').disabled = true;
  say(doing);
  try {
    await what();
  } catch (error) {
    if (error.name !== 'AbortError') say(error instanceof TypeError ? 'The server does not answer.' : error.message, true);
  } finally {
    if (running === mine) $('go').disabled = false;
  }
}

function label() {
  work(async () => {
    const beside = $('kind').value === 'semantic' && $('beside').value, questions = [fields(), ...(beside ? [fields(beside)] : [])];
    const answers = []; // one after the other, on the words that stand there now: seconds are those of one model
    for (const form of questions) answers.push(await (await ask('', form)).json());
    const [first, second] = answers;
    found = first;
    other = second && {found: second, owner: owners(second), sheet: null};
    hidden = new Set();
    sheet = null;
    owner = owners(found);
    show();
    const took = (one) => `${one.model} ${one.seconds.toFixed(1)} s`;
    say(`${found.width} × ${found.height} pixels, ${other ? `${took(first)}, ${took(second)}` : `${found.seconds.toFixed(1)} s`}`);
  }, 'Looking at the picture …');
}

function save(format) {
  work(async () => {
    const answer = await ask(format);
    const name = /filename\*=UTF-8''([^;]+)/.exec(answer.headers.get('content-disposition') || '');
    const link = document.createElement('a');
    link.href = URL.createObjectURL(await answer.blob());
    link.download = name ? decodeURIComponent(name[1]) : 'result.json';
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    say(`${link.download} is saved.`);
  }, 'Writing the file …');
}

// COCO's compressed run lengths: numbers in characters of six bits, from the third on as differences to the one before last.
function runLengths(text) {
  const runs = [];
  for (let at = 0; at < text.length;) {
    let value = 0, shift = 0, code;
    do {
      code = text.charCodeAt(at++) - 48;
      value |= (code & 31) << shift;
      shift += 5;
    } while (code & 32);
    if (code & 16 && shift < 32) value |= -1 << shift;
    runs.push(runs.length > 2 ? value + runs[runs.length - 2] : value);
  }
  return runs;
}

// Which object each pixel belongs to, -1 for none; later objects lie over earlier ones.
function owners(found) {
  const owner = new Int16Array(found.width * found.height).fill(-1);
  found.objects.forEach((object, number) => {
    if (!object.mask) return;
    const [height] = object.mask.size;
    let at = 0;
    runLengths(object.mask.counts).forEach((length, turn) => {
      if (turn % 2) {
        for (let k = at; k < at + length; k++) owner[(k % height) * found.width + Math.floor(k / height)] = number;
      }
      at += length;
    });
  });
  return owner;
}

const colour = (object) => found.kind === 'semantic' ? found.colors[object.label] : palette(object);

function palette(object) { // objects of one class get shades of their own
  const same = found.objects.filter((other) => other.label === object.label);
  const part = same.indexOf(object) / Math.max(1, same.length);
  const [r, g, b] = bytes(found.colors[object.label]).map((value) => Math.round(value * (1 - 0.5 * part)));
  return '#' + [r, g, b].map((value) => value.toString(16).padStart(2, '0')).join('');
}

const bytes = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));

// The colours of all objects that are not hidden, opaque; one number per pixel, since photographs have millions.
function coloured(found, owner) {
  const layer = new ImageData(found.width, found.height), pixels = new Uint32Array(layer.data.buffer);
  const values = found.objects.map((object, number) => {
    if (hidden.has(key(object, number))) return 0;
    return new Uint32Array(new Uint8ClampedArray([...bytes(colour(object)), 255]).buffer)[0];
  });
  for (let at = 0; at < owner.length; at++) if (owner[at] >= 0) pixels[at] = values[owner[at]];
  const canvas = new OffscreenCanvas(found.width, found.height);
  canvas.getContext('2d').putImageData(layer, 0, 0);
  return canvas;
}

function paint() {
  const canvas = $('canvas'), context = canvas.getContext('2d');
  canvas.width = found.width;
  canvas.height = found.height;
  if (photo) context.drawImage(photo, 0, 0, found.width, found.height);
  sheet ??= coloured(found, owner);
  context.globalAlpha = $('opacity').value / 100;
  const split = other ? Math.round(found.width * $('split').value / 100) : found.width, rest = found.width - split;
  if (split) context.drawImage(sheet, 0, 0, split, found.height, 0, 0, split, found.height);
  if (rest) {
    other.sheet ??= coloured(other.found, other.owner);
    context.drawImage(other.sheet, split, 0, rest, found.height, split, 0, rest, found.height);
  }
  context.globalAlpha = 1;
  if (other) {
    context.fillStyle = '#fff';
    context.fillRect(split - Math.max(1, found.width / 400), 0, Math.max(2, found.width / 200), found.height);
  }
  if (found.kind === 'semantic') return;
  context.lineWidth = Math.max(2, found.width / 300);
  context.font = `${Math.max(12, Math.round(found.width / 45))}px system-ui, sans-serif`;
  found.objects.forEach((object, number) => {
    if (hidden.has(key(object, number))) return;
    const [x1, y1, x2, y2] = object.box;
    context.strokeStyle = context.fillStyle = colour(object);
    context.strokeRect(x1, y1, x2 - x1, y2 - y1);
    context.fillText(object.title || object.class, x1 + 3, Math.max(y1 - 4, context.lineWidth * 6));
  });
}

const key = (object, number) => found.kind === 'semantic' ? `class ${object.label}` : `object ${number}`;
const percent = (share) => share && share < 0.001 ? '<0.1 %' : `${(100 * share).toFixed(1)} %`;

function rows() {
  if (found.kind !== 'semantic') {
    const total = found.width * found.height;
    return found.objects.map((object, number) => ({name: object.title || object.class, colour: colour(object),
      share: object.area / total, score: object.score, key: key(object, number)}));
  }
  const all = found.areas.map((area) => ({name: area.class, colour: found.colors[area.label], share: area.share,
    score: area.score, doubtful: area.by_chance, key: `class ${area.label}`,
    beside: other && (other.found.areas.find((one) => one.class === area.class)?.share ?? 0)}));
  return all.sort((one, other) => other.share - one.share);
}

function show() {
  $('result').hidden = $('side').hidden = false;
  const list = rows();
  $('compared').hidden = !other;
  $('sides').textContent = other ? `${found.model} | ${other.found.model}` : '';
  $('legend').replaceChildren(...list.map(entry));
  const whole = found.kind === 'anomaly' ? `Score of the picture: ${found.score.toFixed(2)}. ` : '';
  $('notes').textContent = whole + found.notes.join(' ') + (list.some((row) => row.doubtful)
    ? ' ?: the picture shows it no more than unrelated words.' : '') + (list.length ? '' : found.kind === 'anomaly' ? 'No area stands out.' : 'Nothing was found.');
  $('canvas').setAttribute('aria-label', list.map((row) => `${row.name} ${percent(row.share)}`).join(', '));
  $('saves').replaceChildren(...model.formats[found.kind].map((format) => {
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = SAVES[format] || format;
    button.addEventListener('click', () => save(format));
    return button;
  }));
  paint();
}

function entry(row) {
  const item = document.createElement('li'), line = document.createElement('label'), box = document.createElement('input');
  item.classList.toggle('none', !row.share && !row.beside);
  box.type = 'checkbox';
  box.checked = true;
  box.addEventListener('change', () => {
    if (box.checked) hidden.delete(row.key); else hidden.add(row.key);
    sheet = null;
    if (other) other.sheet = null;
    paint();
  });
  const swatch = document.createElement('span'), name = document.createElement('span'), numbers = document.createElement('span');
  swatch.className = 'swatch';
  swatch.style.background = row.colour;
  name.className = 'name';
  name.textContent = row.name + (row.doubtful ? ' ?' : '');
  numbers.className = 'numbers';
  const score = row.score === null || row.score === undefined ? '' : ` · ${row.score.toFixed(2)}`;
  numbers.textContent = percent(row.share) + (other ? ` | ${percent(row.beside)}` : score);
  numbers.title = 'part of the picture · how sure the model is, 0 to 1';
  line.append(box, swatch, name, numbers);
  item.append(line);
  return item;
}

function under(event) {
  const canvas = $('canvas'), box = canvas.getBoundingClientRect();
  const x = Math.floor((event.clientX - box.left) / box.width * canvas.width);
  const y = Math.floor((event.clientY - box.top) / box.height * canvas.height);
  const inside = found && x >= 0 && y >= 0 && x < found.width && y < found.height;
  const right = inside && other && x >= found.width * $('split').value / 100;
  const [seen, whose] = right ? [other.found, other.owner] : [found, owner];
  const object = inside ? seen.objects[whose[y * found.width + x]] : undefined;
  $('under').textContent = object ? object.title || object.class : '';
}

$('image').addEventListener('change', () => take($('image').files[0]));
$('ask').addEventListener('submit', (event) => { event.preventDefault(); label(); });
$('words').addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && !event.shiftKey) { event.preventDefault(); label(); }
});
for (const name of ['opacity', 'split']) $(name).addEventListener('input', () => { if (found) paint(); });
$('canvas').addEventListener('pointermove', under);
$('canvas').addEventListener('pointerleave', () => { $('under').textContent = ''; });
document.addEventListener('paste', (event) => take([...event.clipboardData.files][0]));
for (const name of ['dragover', 'dragleave', 'drop']) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    $('drop').classList.toggle('over', name === 'dragover');
    if (name === 'drop') take([...event.dataTransfer.files][0]);
  });
}
start();
