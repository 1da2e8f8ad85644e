"""The page's own steps in V8, beside those of the runtime."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from py_mini_racer import MiniRacer

from denseclip.browser.libraries import PAGE
from denseclip.clip.vocabulary import Vocabulary, VocabularyError
from denseclip.runtime.graphs import mean_directions, merge_prompts
from denseclip.runtime.label_maps import label_map
from denseclip.runtime.manifest import Picture
from denseclip.runtime.pictures import extend, prepare
from denseclip.runtime.resizing import resize_pixels

_GLUE = """
const unpack = ({data, shape: [height, width, channels]}) => ({data: Uint8Array.from(data), height, width, channels});
const packed = (pixels) => ({data: [...pixels.data], shape: [pixels.height, pixels.width, pixels.channels]});
const floats = (values) => Float32Array.from(values);
function call(name, args) {
  try {
    return JSON.stringify(doing[name](...JSON.parse(args)));
  } catch (error) {
    return JSON.stringify({error: error.message});
  }
}
const doing = {
  resize: (pixels, height, width) => packed(resize(unpack(pixels), height, width)),
  extend: (pixels) => packed(extend(unpack(pixels))),
  prepare: (pixels, steps) => {
    const found = prepare(unpack(pixels), steps);
    return {...found, planes: [...found.planes]};
  },
  labels: (scores, ...rest) => [...labelMap(floats(scores), ...rest)],
  words: parseWords,
  merge: (rows, counts, keep) => mergeRows(rows.map(floats), counts, keep).map((row) => [...row]),
};
"""


@pytest.fixture(scope='module')
def script():
    """Calls a function of the page."""
    files = [(PAGE / f'{name}.js').read_text() for name in ('words', 'pictures', 'labels')]
    engine = MiniRacer()
    engine.eval('\n'.join(re.sub(r'^export ', '', text, flags=re.MULTILINE) for text in files) + _GLUE)

    def call(name: str, *args: Any) -> Any:
        return json.loads(engine.call('call', name, json.dumps(args)))

    yield call
    engine.close()


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def sent(pixels: np.ndarray) -> dict:
    return {'data': pixels.reshape(-1).tolist(), 'shape': pixels.shape}


def received(found: dict) -> np.ndarray:
    return np.array(found['data'], dtype=np.uint8).reshape(found['shape'])


@pytest.mark.parametrize(
    ('size', 'wanted'),
    [((20, 30), (10, 15)), ((21, 31), (13, 8)), ((9, 7), (40, 23)), ((1, 5), (3, 11)), ((48, 36), (48, 36))],
)
def test_pictures_are_resized_bit_for_bit(script, size: tuple[int, int], wanted: tuple[int, int]) -> None:
    pixels = picture(*size)
    assert np.array_equal(received(script('resize', sent(pixels), *wanted)), resize_pixels(pixels, wanted))


@pytest.mark.parametrize('size', [(40, 2), (2, 40), (16, 1), (5, 5)])
def test_strips_are_extended(script, size: tuple[int, int]) -> None:
    pixels = picture(*size)
    assert np.array_equal(received(script('extend', sent(pixels))), extend(pixels))


@pytest.mark.parametrize(
    'steps',
    [
        Picture((24, 18), True, 2048, True, mean=(127.5,) * 3, std=(127.5,) * 3),
        Picture((24, 18), False, 2048, False, mean=(123.7, 116.3, 103.5), std=(58.4, 57.1, 57.4)),
        Picture(None, True, 2048, True, (0.0,) * 3, (255.0,) * 3, shorter=12, pad_divisor=8, pad_value=1.0),
        Picture((24, 18), True, 2048, True, mean=(1.0,) * 3, std=(3.0,) * 3, pad_size=(20, 40)),
    ],
)
@pytest.mark.parametrize('size', [(36, 48), (31, 17), (9, 20)])
def test_inputs_are_the_runtimes(script, steps: Picture, size: tuple[int, int]) -> None:
    pixels = picture(*size)
    found = script('prepare', sent(pixels), vars(steps))
    planes, (_, height, _, width) = prepare(pixels, steps)
    assert (found['tall'], found['wide'], found['valid']) == (*planes.shape[2:], [height, width])
    np.testing.assert_allclose(np.array(found['planes']).reshape(planes.shape), planes, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ('grid', 'size', 'valid', 'out'),
    [
        ((6, 8), (24, 32), (24, 32), (24, 32)),
        ((6, 8), (24, 32), (24, 32), (37, 21)),
        ((7, 5), (28, 20), (25, 18), (50, 36)),
        ((7, 5), (28, 20), (25, 18), (25, 18)),
        ((1, 3), (4, 12), (2, 11), (5, 9)),
    ],
)
def test_labels_are_the_runtimes(script, grid, size, valid, out) -> None:
    scores = np.random.default_rng(2).normal(size=(5, *grid)).astype(np.float32)
    box, inside = (0, size[0], 0, size[1]), (0, valid[0], 0, valid[1])
    right = label_map([scores], [box], size, inside, out)
    given = {'tall': size[0], 'wide': size[1], 'valid': valid}
    found = np.array(script('labels', scores.reshape(-1).tolist(), scores.shape, given, *out)).reshape(out)
    assert (found == right).mean() > 0.999


@pytest.mark.parametrize(
    'text',
    [
        'road; car = automobile, vehicle; sky',
        'road, car, sky',
        ' a  red   car \n\n sky = Sky, clouds ;; ',
        'tree',
        'cup = mug, Mug, cup',
    ],
)
def test_words_are_read_as_everywhere(script, text: str) -> None:
    with pytest.warns() if text == 'road, car, sky' else pytest.MonkeyPatch.context():
        right = Vocabulary.parse(text)
    assert [entry['names'] for entry in script('words', text)] == [list(entry.names) for entry in right.classes]


@pytest.mark.parametrize('text', ['', ' ; ', 'sky; sky', 'car = van; truck = Van', '= sky'])
def test_words_that_cannot_be_used_are_refused(script, text: str) -> None:
    with pytest.raises(VocabularyError):
        Vocabulary.parse(text)
    assert script('words', text)['error']


def test_too_many_names_are_refused(script) -> None:
    assert '301 names' in script('words', '; '.join(f'name {k}' for k in range(301)))['error']


def test_prompts_are_merged_as_in_the_runtime(script) -> None:
    rows, counts = np.random.default_rng(3).normal(size=(6, 4)).astype(np.float32), [1, 3, 2]
    for keep, right in ((True, merge_prompts(rows, counts)), (False, mean_directions(rows, counts))):
        np.testing.assert_allclose(script('merge', rows.tolist(), counts, keep), right, rtol=1e-5, atol=1e-6)


def test_scripts_have_no_other_imports() -> None:
    """The worker's libraries are those of ``lib``; the rest is tested above."""
    found = {line for path in Path(PAGE).glob('*.js') for line in re.findall(r"from '(.+)'", path.read_text())}
    libraries = {'./lib/ort.wasm.bundle.min.mjs', './lib/tokenizers.min.mjs'}
    assert found == {'./labels.js', './pictures.js', './words.js', *libraries}
