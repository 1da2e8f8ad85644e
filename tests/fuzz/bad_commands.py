"""Bad inputs of the ``denseclip`` command."""

from __future__ import annotations

from collections.abc import Iterator

from bad_cases import CAMVID, SMALL_CLIP, Case, Names, case


def segment(names: Names) -> Iterator[Case]:
    """``denseclip segment``."""
    group, good = 'denseclip segment', '{w}/pictures/good.png'
    for name in names.pictures:
        yield case(group, f'picture {name}', f'segment {{w}}/pictures/{name} --out out', target='out')
    for name in ('cut.jpg', 'flipped.png', 'dot.png'):
        yield case(group, f'picture {name}', f'segment {{w}}/pictures/{name} --out out', refuse=False)
    for name in names.words:
        yield case(group, f'words {name}', f'segment {good} --classes-file {{w}}/words/{name} --out out', target='out')
    for name in ('latin.txt', 'controls.txt', 'ragged.csv', 'long.txt'):
        yield case(group, f'words {name}', f'segment {good} --classes-file {{w}}/words/{name} --out out', refuse=False)
    for name in names.configs:
        yield case(group, f'config {name}', f'segment {good} --config {{w}}/configs/{name} --out out', target='out')
    for name in names.weights:
        yield case(
            group,
            f'weights {name}',
            f'segment {good} --config {CAMVID} --weights {{w}}/weights/{name} --out out',
            target='out',
        )
    for text in ('', ' ', ';', '=', 'a=', 'a;a', 'a=b;c=b', ',,', 'a\nb\na'):
        yield case(group, f'classes {text!r}', f'segment {good} --out out --classes', text, target='out')
    options = {
        'no out': '',
        'out is a file': '--out {w}/pictures/good.png',
        'out below a file': '--out {w}/pictures/good.png/out',
        'out in /proc': '--out /proc/out',
        'out empty': '--out=',
        'device unknown': '--out out --device abacus',
        'device out of range': '--out out --device cuda:99',
        'threshold alone': '--out out --threshold 0.5',
        'threshold not a number': '--out out --classes a;b --background threshold --threshold many',
        'threshold nan': '--out out --classes a;b --background threshold --threshold nan',
        'background unknown': '--out out --classes a;b --background sky',
        'background without classes': '--out out --background prompts',
        'names of no background': '--out out --classes a;b --background none --background-names=,',
        'preset unknown': '--out out --preset maskclop --classes a;b',
        'preset without classes': '--out out --preset maskclip',
        'preset with config': '--out out --preset maskclip --classes a;b --config {w}/toy.py',
        'clip alone': '--out out --clip ViT-B-16',
        'clip unknown': '--out out --preset maskclip --classes a;b --clip ViT-B-17',
        'clip folder missing': '--out out --preset maskclip --classes a;b --clip local-dir:gone',
        'clip weights damaged': '--out out --preset sclip --classes a;b --clip RN50 --pretrained {w}/weights/cut.pth',
        'method unknown': '--out out --method deeplab',
        'task without method': '--out out --task panoptic',
        'things alone': '--out out --things a',
        'score alone': '--out out --score 0.5',
        'score out of range': '--out out --method fcclip --score 7',
        'masks missing': f'--out out --method ovseg --masks gone --clip {SMALL_CLIP} --classes a;b',
        'unknown option': '--out out --colour red',
        'two word options': '--out out --classes a;b --classes-file {w}/words/good.txt',
        'a fixed model and other words': '--out out --config {w}/toy.py --weights {w}/weights/other.pth --classes a;b',
    }
    for label, text in options.items():
        yield case(group, label, f'segment {good} {text}')
    yield case(group, 'empty folder', 'segment {w}/pictures/empty_folder --out out', target='out')
    yield case(group, 'pattern without match', 'segment {w}/pictures/*.gif --out out', target='out')
    yield case(group, 'no picture', 'segment --out out', target='out')
    yield case(group, 'one of two damaged', f'segment {good} {{w}}/pictures/empty.png --out out')


def detect(names: Names) -> Iterator[Case]:
    """``denseclip detect``."""
    group, good = 'denseclip detect', '{w}/pictures/good.png'
    model = '--config {w}/detector.py --weights {w}/detector.pth'
    for name in names.pictures:
        yield case(group, f'picture {name}', f'detect {{w}}/pictures/{name} {model} --out out', target='out')
    for name in names.configs:
        line = f'detect {good} --config {{w}}/configs/{name} --weights {{w}}/detector.pth --out out'
        yield case(group, f'config {name}', line, target='out')
    for name in names.weights:
        line = f'detect {good} --config {{w}}/detector.py --weights {{w}}/weights/{name} --out out'
        yield case(group, f'weights {name}', line, target='out')
    for score in ('-1', '2', 'nan', 'inf', 'many', ''):
        yield case(group, f'score {score!r}', f'detect {good} {model} --out out --score={score}', target='out')
    yield case(group, 'no weights', f'detect {good} --config {{w}}/detector.py --out out', target='out')
    yield case(group, 'a segmentor', f'detect {good} --config {{w}}/toy.py --weights {{w}}/toy.pth --out out')
    yield case(group, 'no config', f'detect {good} --out out', target='out')
    yield case(group, 'out is a file', f'detect {good} {model} --out {{w}}/pictures/good.png')


def anomaly(names: Names) -> Iterator[Case]:
    """``denseclip anomaly``."""
    group, model = 'denseclip anomaly', f'--clip {SMALL_CLIP}'
    for name in ('gone', 'empty', 'no_pictures', 'all_damaged', 'good/normal/0.png'):
        line = f'anomaly {{w}}/anomalies/{name} --object nut --out out {model}'
        yield case(group, f'folder {name}', line, target='out')
    yield case(group, 'one damaged', f'anomaly {{w}}/anomalies/damaged --object nut --out out {model}')
    flat = 'anomaly {w}/anomalies/flat --out out'
    for text in ('', ' ', '\0', '{}', 'x' * 5000):
        yield Case(
            group, f'object {text[:9]!r}', (*flat.split(), *model.split(), '--object', text), refuse=text in ('', ' ')
        )
    for text in ('many', 'nan', 'inf', '-1', '2', ''):
        yield case(group, f'threshold {text!r}', f'{flat} {model} --object nut --threshold={text}', target='out')
    yield case(group, 'F1 without labels', f'{flat} {model} --object nut --threshold F1', target='out')
    for name in names.configs:
        yield case(group, f'config {name}', f'{flat} --object nut --config {{w}}/configs/{name}', target='out')
    for name in names.weights[:20]:
        yield case(
            group,
            f'checkpoint {name}',
            f'{flat} {model} --object nut --model anovl --weights {{w}}/weights/{name}',
            target='out',
        )
    for label, text in {
        'no object': model,
        'clip unknown': '--object nut --clip ViT-B-17',
        'clip folder without a model': '--object nut --clip local-dir:{w}/pictures',
        'weights damaged': '--object nut --clip ViT-B-16 --pretrained {w}/weights/cut.pth',
        'domain empty': f'--object nut --domain= {model}',
        'device unknown': f'--object nut --device abacus {model}',
        'a segmentor': '--object nut --config {w}/toy.py',
    }.items():
        yield case(group, label, f'{flat} {text}', target='out')


def new_dataset(names: Names) -> Iterator[Case]:
    """``denseclip new-dataset``; what is found may be written, with exit code 2."""
    group = 'denseclip new-dataset'
    for name in names.boxes:
        yield case(group, f'boxes {name}', f'new-dataset {{w}}/boxes/{name} --out mine.py --converted made')
    for name in ('names_outside', 'names_absolute', 'annotation_ids_twice'):
        yield case(
            group, f'boxes {name}', f'new-dataset {{w}}/boxes/{name} --out mine.py --converted made', refuse=False
        )
    for name in names.maps:
        line = f'new-dataset {{w}}/maps/{name} --out mine.py --converted made --classes'
        yield case(group, f'maps {name}', line, 'ground; thing')
    for name in ('gone', 'pictures/empty_folder', 'pictures/good.png', 'words', 'weights'):
        yield case(group, f'folder {name}', f'new-dataset {{w}}/{name} --out mine.py', target='mine.py')
    maps, boxes = 'new-dataset {w}/maps/good --converted made', 'new-dataset {w}/boxes/good --converted made'
    for label, line in {
        'no classes': f'{maps} --out mine.py',
        'classes empty': f'{maps} --out mine.py --classes=',
        'classes twice': f'{maps} --out mine.py --classes a;a',
        'too few classes': f'{maps} --out mine.py --classes a',
        'other classes than the boxes': f'{boxes} --out mine.py --classes bird;fish;ant',
        'out is a folder': f'{boxes} --out {{w}}/boxes',
        'out without suffix': f'{boxes} --out mine',
        'out with another suffix': f'{boxes} --out mine.txt',
        'out below a file': f'{boxes} --out {{w}}/pictures/good.png/mine.py',
        'out exists': f'{boxes} --out {{w}}/toy.py',
        'base missing': f'{boxes} --out mine.py --base gone.py',
        'base of another kind': f'{boxes} --out mine.py --base {{w}}/toy.py',
        'base broken': f'{boxes} --out mine.py --base {{w}}/configs/syntax.py',
        'share 0': 'new-dataset {w}/boxes/voc_good --converted made --out mine.py --val-share 0',
        'share 1': 'new-dataset {w}/boxes/voc_good --converted made --out mine.py --val-share 1',
        'share nan': 'new-dataset {w}/boxes/voc_good --converted made --out mine.py --val-share nan',
        'share negative': 'new-dataset {w}/boxes/voc_good --converted made --out mine.py --val-share=-1',
        'converted is the source': 'new-dataset {w}/boxes/voc_good --converted {w}/boxes/voc_good --out m.py --force',
        'converted in the source': 'new-dataset {w}/boxes/voc_good --converted {w}/boxes/voc_good/x --out m.py --force',
        'converted holds the source': 'new-dataset {w}/boxes/voc_good --converted {w}/boxes --out mine.py --force',
        'converted is of others': 'new-dataset {w}/boxes/voc_good --converted {w}/words --out mine.py --force',
        'ids too few': f'{maps} --out mine.py --classes a;b --ids 1',
        'ignore not a number': f'{maps} --out mine.py --classes a;b --ignore many',
        'kind that is not there': f'{maps} --out mine.py --kind boxes',
        'corners unknown': f'{boxes} --out mine.py --corners 2',
    }.items():
        yield case(group, label, line)


def miniworld(names: Names) -> Iterator[Case]:
    """``denseclip miniworld``."""
    group = 'denseclip miniworld'
    for label, text in {
        'no layout': 'out',
        'layout unknown': 'out --layout imagenet',
        'count negative': 'out --layout coco --count -3',
        'count text': 'out --layout coco --count many',
        'count decimal': 'out --layout coco --count 1.5',
        'nothing': 'out --layout coco --count 0 --val-count 0',
        'size text': 'out --layout coco --size big',
        'size zero': 'out --layout coco --size 0x0',
        'size three': 'out --layout coco --size 1x2x3',
        'size negative': 'out --layout coco --size=-5x-5',
        'size of a pixel': 'out --layout coco --size 1x1 --count 1',
        'size huge': 'out --layout coco --size 99999999x99999999 --count 1',
        'seed text': 'out --layout coco --seed x',
        'seed negative': 'out --layout coco --seed -1 --count 1',
        'out is a file': '{w}/pictures/good.png --layout coco --count 1',
        'out is of others': '{w}/words --layout coco --count 1',
        'out in /proc': '/proc/out --layout coco --count 1',
        'kinds unknown': 'out --layout coco --kinds few',
    }.items():
        yield case(group, label, f'miniworld {text}', target='out')
