"""Label maps of colours without a list: those of a known set are said, all others are refused with a cure."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import DATASETS
from PIL import Image

from denseclip.apis.errors import UserError
from denseclip.apis.new_dataset import new_dataset
from denseclip.cli.main import main
from denseclip.datasets.converters import ConversionError
from denseclip.datasets.own_data import LabelMapData, recognise
from denseclip.datasets.own_data.palettes import PALETTES, palette

SKY, ROAD, CAR = (128, 128, 128), (128, 64, 128), (64, 0, 128)
STREET = (SKY, ROAD, (0, 0, 192), (192, 192, 128))
Colour = tuple[int, int, int]


def write(root: Path, *colours: Colour, mode: str = 'RGB') -> Path:
    """Pictures with a column of each colour."""
    for split in ('train', 'val'):
        for part in ('images', 'masks'):
            (root / part / split).mkdir(parents=True, exist_ok=True)
        for k in range(2):
            labels = np.repeat(np.array(colours, np.uint8)[None], 6, axis=0)
            Image.new('RGB', (len(colours), 6)).save(root / f'images/{split}/{k}.png')
            image = Image.fromarray(labels)
            image = image.quantize(256, dither=Image.Dither.NONE) if mode == 'P' else image.convert(mode)
            image.save(root / f'masks/{split}/{k}.png')
    return root


def test_palettes_are_sound() -> None:
    assert [len(palette(name).classes) for name in PALETTES] == [31, 11, 19, 21]
    for name in PALETTES:
        known = palette(name)
        assert len({*known.colours}) == len(known.classes) == len({*known.classes})
        assert not {*known.colours} & {*known.ignored}
    for one, two in combinations(PALETTES, 2):
        assert {*palette(one).colours} != {*palette(two).colours}


@pytest.mark.parametrize('name', PALETTES)
def test_every_colour_of_a_set_is_its_class(tmp_path: Path, name: str) -> None:
    known = palette(name)
    root = write(tmp_path / 'own', *known.colours, *known.ignored, mode='RGBA' if name == 'camvid' else 'RGB')
    made = new_dataset(root, tmp_path / 'own.py')
    assert made.ok and f'classes from the colours of {name}' in made.notes
    assert list(made.vocabulary.names) == [entry.replace('_', ' ') for entry in known.classes]
    part = Config.fromfile(made.config).train_dataloader.dataset
    labels = DATASETS.build({**part, 'pipeline': [dict(type='LoadAnnotations')]})[0]['gt_seg_map'][0]
    assert labels.tolist() == [*range(len(known.colours)), *[255] * len(known.ignored)]


def test_some_colours_are_enough_where_no_other_set_has_them(tmp_path: Path) -> None:
    made = new_dataset(write(tmp_path / 'own', *STREET), tmp_path / 'own.py')
    assert made.ok and any('colours of camvid' in note for note in made.notes)
    scores = made.perfect['val'].scores
    assert scores == {'mIoU': 1.0}


@pytest.mark.parametrize(
    ('colours', 'words'),
    [
        ((SKY, (128, 0, 0), CAR), r'which camvid and camvid11 and voc have; say which with --colors NAME'),
        ((SKY, (128, 0, 0), CAR), r'the colours \(64, 0, 128\), \(128, 0, 0\), \(128, 128, 128\), which'),
        (((0, 0, 0), (0, 60, 100)), 'too few to tell that they are those of cityscapes.*labelmap.txt'),
        (
            ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0)),
            "VOC's first ones, which many tools give to any classes",
        ),
        ((SKY, ROAD, (1, 2, 3)), r'of colours, \(1, 2, 3\), \(128, 64, 128\).*Put a labelmap.txt.*--colors'),
    ],
)
def test_other_colours_are_named_with_the_cure(tmp_path: Path, colours: tuple[Colour, ...], words: str) -> None:
    root = write(tmp_path / 'own', *colours)
    with pytest.raises(ConversionError, match=words):
        new_dataset(root, tmp_path / 'own.py')
    assert [path.name for path in tmp_path.iterdir()] == ['own']


def test_a_set_that_is_asked_for(tmp_path: Path) -> None:
    colours = ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0))
    for mode in ('RGB', 'P'):
        data = recognise(write(tmp_path / mode / 'own', *colours, mode=mode), colors='voc')
        assert isinstance(data, LabelMapData) and data.names[:4] == ('background', 'aeroplane', 'bicycle', 'bird')
        assert data.ids == (0, 1, 2, 3)


def test_what_is_asked_for_must_be_there(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    root = write(tmp_path / 'own', *STREET)
    with pytest.raises(
        ConversionError, match=r'--colors voc: no label map has these colours; .*0\.png holds \(0, 0, 192'
    ):
        recognise(root, colors='voc')
    with pytest.raises(ConversionError, match='colors is .kitti., none of auto, camvid'):
        recognise(root, colors='kitti')
    grey = write(tmp_path / 'grey', (0, 0, 0), (1, 1, 1), mode='L')
    with pytest.raises(ConversionError, match='holds ids'):
        recognise(grey, colors='camvid')
    assert main(['new-dataset', str(root), '--out', str(tmp_path / 'a.py'), '--colors', 'kitti']) == 2
    assert 'none of auto, camvid' in capsys.readouterr().err
    with pytest.raises(UserError, match='names 2 classes, the file of the classes has 31'):
        new_dataset(root, tmp_path / 'a.py', classes='sky; road')


def test_one_file_of_colours_among_ids_is_no_set(tmp_path: Path) -> None:
    root = write(tmp_path / 'own', (0, 0, 0), (1, 1, 1), mode='L')
    Image.fromarray(np.array([palette('camvid').colours[:2]], np.uint8)).save(root / 'masks/train/0.png')
    made = new_dataset(root, tmp_path / 'own.py', classes='sky; road')
    assert not made.ok and '0.png: holds 3 channels (RGB)' in '\n'.join(r.render() for r in made.reports.values())
