"""Roles and splits in the names of folders."""

from pathlib import Path

import pytest
from PIL import Image

from denseclip.datasets.converters import ConversionError
from denseclip.datasets.own_data import recognise
from denseclip.datasets.own_data.folders import scan


@pytest.mark.parametrize(
    ('folder', 'role', 'split', 'name'),
    [
        ('train', 'plain', 'train', 'a'),
        ('trainannot', 'labels', 'train', 'a'),
        ('Train_Masks', 'labels', 'train', 'a'),
        ('valLabels', 'labels', 'val', 'a'),
        ('images/validation', 'pictures', 'val', 'a'),
        ('testing/gt', 'labels', 'test', 'a'),
        ('JPEGImages', 'pictures', '', 'a'),
        ('SegmentationClassPNG', 'labels', '', 'a'),
        ('leftImg8bit/train/aachen', 'pictures', 'train', 'aachen/a'),
        ('binary_masks', 'labels', '', 'binary/a'),
        ('latest', 'plain', '', 'latest/a'),  # holds "test", says nothing of it
        ('constraint', 'plain', '', 'constraint/a'),
        ('', 'plain', '', 'a'),
    ],
)
def test_names_of_folders(tmp_path: Path, folder: str, role: str, split: str, name: str) -> None:
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    (tmp_path / folder / 'a.png').touch()
    groups = scan(tmp_path)
    found = [
        (kind, s, list(g.files)) for kind in ('pictures', 'labels', 'plain') for s, g in vars(groups)[kind].items()
    ]
    assert found == [(role, split, [name])]


def test_what_shows_label_maps_or_objects_is_left_out(tmp_path: Path) -> None:
    for folder in ('SegmentationObject', 'SegmentationClassVisualization', '.cache', '__MACOSX'):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / 'a.png').touch()
    (tmp_path / 'labels').mkdir()
    (tmp_path / 'labels/a.txt').touch()
    assert not any(vars(scan(tmp_path)).values())


def test_a_label_map_in_two_formats_is_taken_from_the_lossless_one(tmp_path: Path) -> None:
    (tmp_path / 'masks').mkdir()
    for suffix in ('jpg', 'png'):
        (tmp_path / f'masks/a.{suffix}').touch()
    (group,) = scan(tmp_path).labels.values()
    assert group.files['a'].suffix == '.png' and not group.twice


def test_two_label_maps_of_one_name_are_refused_unless_one_is_a_jpeg(tmp_path: Path) -> None:
    for folder in ('images', 'labels', 'annotations'):
        (tmp_path / folder).mkdir()
        for stem in 'ab':
            Image.new('L', (8, 8)).save(tmp_path / folder / f'{stem}.png')
    with pytest.raises(ConversionError, match=r'annotations/a\.png and .*labels/a\.png are label maps of one name'):
        recognise(tmp_path)
    for path in (tmp_path / 'labels').iterdir():
        path.rename(path.with_suffix('.JFIF'))
    (tmp_path / 'images' / 'c.heic').touch()
    groups = scan(tmp_path)
    assert {path.parent.name for path in groups.labels[''].files.values()} == {'annotations'}
    assert not groups.labels[''].twice and groups.left_out == {'.heic': 1}
