"""Evaluation sets of other domains: the real classes read their layouts, and labels are where the lists say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mmengine.registry import DefaultScope
from mmseg.registry import DATASETS
from PIL import Image

import denseclip.datasets  # noqa: F401  (registration)
from denseclip.clip.vocabulary import Vocabulary
from denseclip.datasets.open_vocab import DOMAIN_SETS

RENAMED: dict[str, dict[int, str]] = {
    'isaid': {
        0: 'others',
        1: 'boat',
        2: 'storage tank',
        6: 'running track field',
        8: 'truck or bus',
        9: 'car',
        12: 'traffic circle',
        13: 'soccer field',
        14: 'air plane',
        15: 'pier',
    }
}
"""Names that a set's list has on purpose in place of those of the data set class."""
IGNORED_ID = {'loveda': 0}


def write(name: str, root: Path) -> np.ndarray:
    """One picture whose label map has all ids of the files, in the set's own folders; the ids."""
    entry = DOMAIN_SETS[name]
    first = 1 if name in IGNORED_ID else 0
    ids = np.arange(first, first + entry.num_classes, dtype=np.uint8)
    labels = np.concatenate([ids, [IGNORED_ID.get(name, 255)]]).astype(np.uint8)[None].repeat(3, axis=0)
    for folder, picture in ((entry.img_path, np.zeros((*labels.shape, 3), np.uint8)), (entry.seg_map_path, labels)):
        path = root / folder / '1024_0.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)
    return labels


@pytest.mark.parametrize('name', DOMAIN_SETS)
def test_every_id_is_the_class_of_its_place_in_the_list(name: str, tmp_path: Path) -> None:
    entry = DOMAIN_SETS[name]
    write(name, tmp_path)
    steps = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations'),
        dict(type='CheckLabelRange', num_classes=entry.num_classes),
    ]
    with DefaultScope.overwrite_default_scope('mmseg'):
        dataset = DATASETS.build(dict(entry.dataset(str(tmp_path)), pipeline=steps))
    assert len(dataset) == 1
    assert dataset[0]['gt_seg_map'][0].tolist() == [*range(entry.num_classes), 255]


@pytest.mark.parametrize('name', DOMAIN_SETS)
def test_lists_say_what_the_classes_are(name: str) -> None:
    entry = DOMAIN_SETS[name]
    names = Vocabulary.named(name).names
    with DefaultScope.overwrite_default_scope('mmseg'):
        classes = DATASETS.get(entry.dataset_type).METAINFO['classes']
    assert len(names) == entry.num_classes

    def plain(text: str) -> str:
        return ''.join(c for c in text.casefold() if c.isalnum())

    differing = {k: n for k, (n, c) in enumerate(zip(names, classes, strict=True)) if plain(n) != plain(c)}
    assert differing == RENAMED.get(name, {})
