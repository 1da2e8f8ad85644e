"""The result of one picture: areas, masks, files."""

import csv

import numpy as np
import pytest
from PIL import Image

from denseclip.apis.errors import UserError
from denseclip.apis.results.formats import endings
from denseclip.apis.segmentation import Segmentation
from denseclip.clip.vocabulary import Vocabulary
from denseclip.visualization import palette_for, read_label_png


def make(vocabulary='road; car=automobile,vehicle; sky', labels=((0, 0, 1), (2, 2, 2)), **options):
    vocabulary = Vocabulary.parse(vocabulary, **options)
    labels = np.array(labels, dtype=np.uint8)
    palette = palette_for(vocabulary.names, vocabulary.background != 'none')
    return Segmentation(labels, vocabulary, palette, np.full((*labels.shape, 3), 90, np.uint8))


def test_areas_cover_the_picture():
    areas = make(labels=((0, 0, 0), (2, 2, 2))).areas()
    assert [(a.name, a.label, a.pixels, a.share) for a in areas] == [
        ('road', 0, 3, 0.5),
        ('car', 1, 0, 0.0),
        ('sky', 2, 3, 0.5),
    ]


def test_mask_by_name_and_synonym():
    result = make()
    expected = [[False, False, True], [False, False, False]]
    for name in ('car', 'Automobile', 'vehicle'):
        np.testing.assert_array_equal(result.mask(name), expected)
    with pytest.raises(KeyError, match="no class is called 'vehicel'; did you mean 'vehicle'"):
        result.mask('vehicel')


def test_background_is_one_more_label():
    result = make('car', labels=((0, 1),), background='prompts', background_names=('wall',))
    assert result.names == ('car', 'background')
    assert [a.pixels for a in result.areas()] == [1, 1]
    np.testing.assert_array_equal(result.mask('background'), [[False, True]])
    assert result.overlay().mode == 'RGB'


def test_a_class_may_be_called_background():
    result = make('background; car', labels=((0, 1),))
    np.testing.assert_array_equal(result.mask('background'), [[True, False]])


@pytest.mark.parametrize(
    ('words', 'options', 'labels', 'names'),
    [
        ('background; car', dict(background='prompts', background_names=('wall',)), (0, 1, 2), ('no class',)),
        ('Background; no class', dict(background='learned'), (0, 1, 2), ('no class 2',)),
        ('sky; nothing', {}, (0, 1, 2), ('no class',)),
        ('background; nothing', dict(background='learned'), (0, 1, 2, 3), ('no class', 'no class 2')),
    ],
)
def test_no_two_labels_have_one_name(words, options, labels, names):
    result = make(words, labels=(labels,), **options)
    assert result.names == (*result.vocabulary.names, *names)
    for label, name in enumerate(result.names):
        np.testing.assert_array_equal(result.mask(name), result.label_map == label)
    assert [area.name for area in result.areas()] == list(result.names)


def test_save(tmp_path):
    result = make()
    files = result.save(tmp_path / 'out', 'shot')
    assert [f.name for f in files] == ['shot' + suffix for suffix in endings('semantic')]
    assert sorted(tmp_path.glob('out/*')) == sorted(files)
    labels, names = read_label_png(files[1])
    np.testing.assert_array_equal(labels, result.label_map)
    assert tuple(names) == result.names
    rows = list(csv.DictReader(files[2].open(encoding='utf-8')))
    assert [(r['class'], int(r['pixels'])) for r in rows] == [('road', 2), ('car', 1), ('sky', 3)]
    assert sum(float(r['share']) for r in rows) == pytest.approx(1, abs=1e-5)
    with Image.open(files[0]) as overlay:
        overlay.verify()


def test_save_keeps_earlier_results(tmp_path):
    result = make()
    first = {path: path.read_bytes() for path in result.save(tmp_path)}
    with pytest.raises(UserError, match='earlier results: picture_overlay.png.*--force'):
        make(labels=((2, 2, 2), (2, 2, 2))).save(tmp_path)
    assert all(path.read_bytes() == content for path, content in first.items())
    make(labels=((2, 2, 2), (2, 2, 2))).save(tmp_path, force=True)
    assert any(path.read_bytes() != content for path, content in first.items())
