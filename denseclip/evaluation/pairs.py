"""Pictures and their captions: how far apart the two kinds of embeddings lie, and how often they find each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.registry import METRICS
from torch import Tensor

from denseclip.evaluation.picture_metric import Job, PictureMetric


def pair_measures(images: Tensor, texts: Tensor, groups: Sequence[str] | None = None) -> dict[str, float]:
    """Measures of pairs.

    Args:
        images: Unit-length embeddings of pictures, (B, E).
        texts: Of their captions, (B, E).
        groups: Pairs with equal ones are true of each other; None: none are.

    Returns:
        ``gap``, the distance between the mean picture and the mean caption (Liang et al., "Mind the Gap", 2022);
        ``distance``, the mean distance within a pair; ``recall``, the share of captions and pictures, in percent, whose
        nearest is one that is true of them.

    Raises:
        ValueError: If there is no pair.
    """
    if not len(images):
        raise ValueError('there is no pair of a picture and a caption to measure')
    names = list(range(len(images))) if groups is None else list(groups)
    similarity = images @ texts.T
    hits = [names[i] == names[k] for way in (similarity, similarity.T) for i, k in enumerate(way.argmax(1).tolist())]
    return {
        'gap': (images.mean(dim=0) - texts.mean(dim=0)).norm().item(),
        'distance': (images - texts).norm(dim=1).mean().item(),
        'recall': 100 * sum(hits) / len(hits),
    }


@METRICS.register_module()
class PairMetric(PictureMetric):
    """Modality gap, distance and recall of pictures and captions, see :func:`pair_measures`.

    Data samples need ``image_embedding`` and ``text_embedding`` (E), with ``ending`` behind these names, and
    ``caption_group``.

    Args:
        ending: Of the names of the embeddings; ``'_before'``: of the CLIP that a training started from.
        collect_device: See :class:`mmengine.evaluator.BaseMetric`.
        prefix: See there.
    """

    default_prefix = None

    def __init__(self, ending: str = '', collect_device: str = 'cpu', prefix: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.ending = ending

    def job(self, sample: Mapping[str, Any]) -> Job:
        """Take in a pair.

        Args:
            sample: Data sample as a dict.

        Raises:
            ValueError: If it has no embeddings.
        """
        keys = [f'{kind}_embedding{self.ending}' for kind in ('image', 'text')]
        if any(sample.get(key) is None for key in keys):
            raise ValueError(f'{sample.get("img_path", "a pair")}: the model gave no {" and ".join(keys)}')
        result = (*(sample[key].float().cpu() for key in keys), sample['caption_group'])
        return lambda: result

    def compute_metrics(self, results: list[tuple[Tensor, Tensor, str]]) -> dict[str, float]:
        """Measures of all pairs."""
        if not results:
            return pair_measures(torch.zeros(0, 1, device='cpu'), torch.zeros(0, 1, device='cpu'))
        images, texts, groups = zip(*results, strict=True)
        return {**pair_measures(torch.stack(images), torch.stack(texts), groups), 'pairs': len(results)}
