"""Where pairs come from: captions and proposals, or label maps."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from mmseg.datasets import BaseSegDataset
from PIL import Image, ImageOps
from torch import Tensor

from denseclip.clip.templates import fill as fill_template
from denseclip.clip.templates import resolve_templates
from denseclip.clip.vocabulary import Vocabulary, VocabularyLike
from denseclip.datasets.captions import CaptionedImages
from denseclip.datasets.files import UnreadableFileError, read_label_map
from denseclip.datasets.label_map_dataset import loader_id
from denseclip.datasets.pair_store import MaskNounPair

from .encoder import RegionEncoder
from .matching import best_regions
from .nouns import NounExtractor, caption_nouns

TITLE = 'a photo of a {} in the scene'
"""Sentence of a noun in OVSeg's training data."""

Propose = Callable[[Tensor, Mapping[str, Any]], Tensor]
"""Picture (3, H, W), RGB in 0..255, and its meta information to masks (Q, H, W), bool or shares in 0..1."""


class PairSource(Protocol):
    """Pictures by number, and the pairs of each."""

    def __len__(self) -> int:
        """Number of pictures."""
        ...

    def __call__(self, index: int) -> list[MaskNounPair]:
        """Pairs of a picture."""
        ...

    def describe(self) -> dict[str, Any]:
        """What decides the pairs, as plain data."""
        ...


class CaptionPairs:
    """Nouns of captions, each with the proposal that CLIP finds most similar.

    Args:
        dataset: Captioned pictures; the pipeline is not run.
        propose: Makes masks; see :data:`Propose`.
        encoder: CLIP.
        nouns: Finds nouns.
        captions: How many captions of a picture to read, at least 1; None: all.
        title: Sentence of a pair.
        min_area: Smallest share of the picture that a mask may cover.
        min_score: See :func:`~studies.mining.matching.best_regions`.
        mutual: See there.
        about: Further plain data for the card, such as the config of the proposer.

    Raises:
        ValueError: If no caption is to be read.
    """

    def __init__(
        self,
        dataset: CaptionedImages,
        propose: Propose,
        encoder: RegionEncoder,
        nouns: NounExtractor,
        *,
        captions: int | None = None,
        title: str = TITLE,
        min_area: float = 0.001,
        min_score: float = -1.0,
        mutual: bool = False,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        if captions is not None and captions < 1:
            raise ValueError(f'captions={captions}: read at least one caption of a picture, or all of them (None).')
        self.dataset, self.propose, self.encoder, self.nouns = dataset, propose, encoder, nouns
        self.captions, self.min_area, self.min_score, self.mutual = captions, min_area, min_score, mutual
        (self.title,) = resolve_templates(title)
        self.about = dict(about or {})

    def __len__(self) -> int:
        return len(self.dataset)

    def __call__(self, index: int) -> list[MaskNounPair]:
        """See :class:`PairSource`."""
        info = self.dataset.get_data_info(index)
        nouns = caption_nouns(info['gt_caption'][: self.captions], self.nouns)
        if not nouns:
            return []
        image = torch.from_numpy(read_picture(info['img_path'])).to(self.encoder.device)
        image = image.permute(2, 0, 1).float()
        masks = large_masks(self.propose(image, info), self.min_area)
        if not len(masks):
            return []
        regions, valid = self.encoder.regions(image, masks)
        words, chosen, scores = best_regions(
            regions, self.encoder.words(nouns), min_score=self.min_score, mutual=self.mutual
        )
        planes = masks[valid].cpu().numpy()
        name = relative_name(info['img_path'], self.dataset.data_prefix['img_path'])
        return [
            MaskNounPair.of(name, planes[q], nouns[m], fill_template(self.title, nouns[m]), score)
            for m, q, score in zip(words.tolist(), chosen.tolist(), scores.tolist(), strict=True)
        ]

    def describe(self) -> dict[str, Any]:
        """See :class:`PairSource`."""
        infos = [self.dataset.get_data_info(index) for index in range(len(self.dataset))]
        return {
            'source': 'captions',
            'pictures': digest([info['img_path'] for info in infos]),
            'texts': digest([repr(info['gt_caption'][: self.captions]) for info in infos]),
            'nouns': digest(repr(self.nouns.describe())),
            'captions': self.captions,
            'title': self.title,
            'min_area': self.min_area,
            'min_score': self.min_score,
            'mutual': self.mutual,
            'encoder': self.encoder.describe(),
            **self.about,
        }


class LabelMapPairs:
    """The region of every class of every label map, with the name of the class: ground truth instead of mining.

    Args:
        dataset: A set of mmseg; its pipeline is not run.
        vocabulary: Names for the classes, in their order; default: the set's own.
        title: Sentence of a pair.
        min_area: Smallest share of the picture that a region may cover.
    """

    def __init__(
        self,
        dataset: BaseSegDataset,
        vocabulary: VocabularyLike | None = None,
        *,
        title: str = TITLE,
        min_area: float = 0.001,
    ) -> None:
        names = Vocabulary.of(vocabulary).names if vocabulary is not None else tuple(dataset.metainfo['classes'])
        if len(names) != len(dataset.metainfo['classes']):
            raise ValueError(f'{len(names)} names for the {len(dataset.metainfo["classes"])} classes of the data set')
        self.dataset, self.names, self.min_area = dataset, names, min_area
        (self.title,) = resolve_templates(title)

    def __len__(self) -> int:
        return len(self.dataset)

    def __call__(self, index: int) -> list[MaskNounPair]:
        """See :class:`PairSource`."""
        info = self.dataset.get_data_info(index)
        labels = class_ids(read_label_map(info['seg_map_path']), info)
        ids, counts = np.unique(labels, return_counts=True)
        name = relative_name(info['img_path'], self.dataset.data_prefix['img_path'])
        return [
            MaskNounPair.of(name, labels == k, self.names[k], fill_template(self.title, self.names[k]))
            for k, count in zip(ids.tolist(), counts.tolist(), strict=True)
            if 0 <= k < len(self.names) and count >= self.min_area * labels.size
        ]

    def describe(self) -> dict[str, Any]:
        """See :class:`PairSource`."""
        infos = [self.dataset.get_data_info(index) for index in range(len(self.dataset))]
        keys = ('seg_map_path', 'reduce_zero_label', 'label_map')
        return {
            'source': 'label maps',
            'pictures': digest([info['img_path'] for info in infos]),
            'maps': digest([repr([info.get(key) for key in keys]) for info in infos]),
            'classes': list(self.names),
            'title': self.title,
            'min_area': self.min_area,
        }


def class_ids(labels: np.ndarray, info: Mapping[str, Any]) -> np.ndarray:
    """Ids of a file as the data set counts them, int64 (H, W); what is no class lies beyond the classes."""
    found, inverse = np.unique(labels, return_inverse=True)
    mapped = [loader_id(int(i), bool(info.get('reduce_zero_label')), info.get('label_map')) for i in found]
    return np.array(mapped, dtype=np.int64)[inverse.reshape(labels.shape)]


def read_picture(path: str | Path) -> np.ndarray:
    """A picture as RGB, uint8 (H, W, 3), turned as its EXIF entry says: so do the loaders of a later training.

    Raises:
        UnreadableFileError: If the file is missing, empty or damaged.
    """
    try:
        with Image.open(path) as image:
            return np.array(ImageOps.exif_transpose(image).convert('RGB'))
    except FileNotFoundError:
        raise UnreadableFileError(f'{path}: no such file') from None
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise UnreadableFileError(f'{path}: cannot be read ({error})') from error


def large_masks(masks: Tensor, min_area: float, threshold: float = 0.5) -> Tensor:
    """Masks that cover at least a share of the picture, bool.

    Args:
        masks: Bool or shares in 0..1.
        min_area: The share; masks without a pixel never stay.
        threshold: A pixel is in a mask if its share is above this.

    Shape:
        - masks: :math:`(Q, H, W)`; result: :math:`(Q', H, W)`
    """
    inside = masks if masks.dtype == torch.bool else masks > threshold
    areas = inside.flatten(1).sum(dim=1)
    return inside[areas >= max(1.0, min_area * inside[0].numel())] if len(inside) else inside


def relative_name(path: str, root: str) -> str:
    """Path of a picture below its folder, with forward slashes."""
    return Path(path).relative_to(root).as_posix() if root else Path(path).as_posix()


def digest(content: str | Sequence[str]) -> str:
    """Hash of a text or of lines."""
    text = content if isinstance(content, str) else '\n'.join(content)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
