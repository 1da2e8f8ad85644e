"""Regions with sentences, for adapting CLIP to masked pictures, and with classes, for measuring how well it does.

``MaskNounPairs`` reads what ``tools/mine_mask_pairs.py`` writes. ``MaskedRegionTable`` reads the older form that OVSeg
was trained with: a table of sentences and of pictures whose surroundings are painted over, so that the mask must be
recovered from the colour.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS

from denseclip.clip.vocabulary import Vocabulary, VocabularyLike

from .pair_store import PairStore

FILL = (124, 116, 103)
"""RGB around the regions of OVSeg's training pictures."""


@DATASETS.register_module()
class MaskNounPairs(BaseDataset):
    """A folder of mask-noun pairs; a sample is one region.

    Each sample has ``img_path``, ``segmentation`` (size and run-length code), ``region_box``, ``gt_caption`` (the
    sentence), ``caption_group`` (the noun) and, with a vocabulary, ``gt_label``.

    Args:
        ann_file: Folder of the pairs.
        data_prefix: ``img_path`` is the folder of the pictures.
        min_score: Leave pairs out whose cosine is lower.
        vocabulary: Classes to be told apart; anything :meth:`denseclip.clip.Vocabulary.of` takes. A noun that is a name
            or synonym of a class gets its label, others get -1.
        **kwargs: Everything else that :class:`mmengine.dataset.BaseDataset` takes.
    """

    def __init__(
        self,
        ann_file: str,
        data_prefix: dict[str, str],
        min_score: float = -1.0,
        vocabulary: VocabularyLike | None = None,
        **kwargs: Any,
    ) -> None:
        self.min_score = min_score
        self.vocabulary = None if vocabulary is None else Vocabulary.of(vocabulary)
        if self.vocabulary is not None:
            kwargs.setdefault('metainfo', {'classes': self.vocabulary.names})
        super().__init__(ann_file=ann_file, data_prefix=data_prefix, **kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        """Read all pairs.

        Raises:
            PairStoreError: If the folder is incomplete or damaged.
        """
        places = class_places(self.vocabulary)
        folder = Path(self.data_prefix['img_path'])
        return [
            {
                'img_path': str(folder / pair.image),
                'segmentation': {'size': list(pair.size), 'counts': pair.counts},
                'region_box': list(pair.box),
                'gt_caption': pair.title,
                'caption_group': pair.noun,
                'gt_label': places.get(pair.noun.casefold(), -1),
                'score': pair.score,
            }
            for pair in PairStore(self.ann_file).read()
            if pair.score >= self.min_score
        ]


@DATASETS.register_module()
class MaskedRegionTable(BaseDataset):
    """OVSeg's table: tab-separated text whose header names the columns ``title`` and ``filepath``.

    Args:
        ann_file: The table.
        data_prefix: ``img_path`` is the folder that relative paths start from.
        fill: Colour around the regions, RGB; ``RecoverMask`` takes it from the samples.
        **kwargs: Everything else that :class:`mmengine.dataset.BaseDataset` takes.
    """

    def __init__(
        self,
        ann_file: str,
        data_prefix: dict[str, str] | None = None,
        fill: tuple[int, int, int] = FILL,
        **kwargs: Any,
    ) -> None:
        self.fill = tuple(fill)
        super().__init__(ann_file=ann_file, data_prefix=data_prefix or dict(img_path=''), **kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        """Read the table.

        Raises:
            FileNotFoundError: It does not exist.
            ValueError: A column or a field is missing; the line is named.
        """
        path = Path(self.ann_file)
        if not path.is_file():
            raise FileNotFoundError(f"table '{path}' does not exist; check data_root and ann_file")
        with path.open(encoding='utf-8', newline='') as file:
            rows = csv.DictReader(file, delimiter='\t', quoting=csv.QUOTE_NONE)
            if not {'title', 'filepath'} <= set(rows.fieldnames or ()):
                raise ValueError(f"'{path}': the first line must name the columns title and filepath, tab between them")
            folder, samples = Path(self.data_prefix['img_path']), []
            for row in rows:
                if not row['title'] or not row['filepath']:
                    raise ValueError(f"'{path}' line {rows.line_num}: title or filepath is empty")
                title = row['title'].strip()
                samples.append(
                    {
                        'img_path': str(folder / row['filepath'].strip()),
                        'gt_caption': title,
                        'caption_group': title,
                        'gt_label': -1,
                        'fill': list(self.fill),
                    }
                )
        return samples


def class_places(vocabulary: Vocabulary | None) -> dict[str, int]:
    """Index of the class of every name and synonym, by its lower-case spelling."""
    if vocabulary is None:
        return {}
    return {name.casefold(): k for k, entry in enumerate(vocabulary.classes) for name in entry.names}
