"""Words for what was found: which of some defects an area looks most like to a CLIP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.dataset import pseudo_collate

from denseclip.apis.anomaly import AnomalyInferencer
from denseclip.apis.anomaly_result import AnomalyResult
from denseclip.apis.errors import UserError
from denseclip.apis.turns import turn_of
from denseclip.clip.anomaly_prompts import state_prompts
from denseclip.clip.anomaly_prompts.builder import defect_words
from denseclip.visualization.anomaly_pictures import areas_of

Words = tuple[tuple[str, float], ...]

_FRAMES = ('a photo of {}', 'a close-up photo of {}', '{}')
_SCALE = 100.0  # what CLIP learns for its cosines
_MOST = 20


class RegionNamer:
    """Names areas by AnoVL's CLIP: its dense features pooled over each, and each with its surroundings as a picture.

    A score is the word's share of a softmax over the words: ``scratch 0.71, dent 0.12`` says that the area looks like a
    scratch rather than like the others, not that there is one. A single word stands against the object as it should
    be.

    Args:
        inferencer: An AnoVL, whose CLIP is looked with.
        object_name: What the pictures show.
        defects: The words, ``'scratch; dent'`` or a list.

    Raises:
        UserError: If the model has no dense features that words can be compared with.
        PromptSetError: If a word is empty.
    """

    def __init__(self, inferencer: AnomalyInferencer, object_name: str, defects: str | Sequence[str]) -> None:
        model: Any = inferencer.model
        if not (hasattr(model, 'text_tower') and hasattr(model, 'pass_size')):
            raise UserError(f'{type(model).__name__} cannot name areas: use AnoVL (--clip, --pretrained).')
        self.inferencer, self.words = inferencer, defect_words(defects)
        states = [word if '{}' in word else f'{{}} with {word}' for word in self.words]
        sentences = [frame.replace('{}', state.replace('{}', object_name)) for state in states for frame in _FRAMES]
        usual = state_prompts(object_name, model.prompts).normal if len(self.words) == 1 else ()
        with turn_of(model), torch.no_grad():
            rows = [model.text_tower.encode_sets(sentences, len(states))]
            if usual:
                rows.append(model.text_tower.encode_sets(usual, 1))
        self.text = torch.cat(rows).float()

    def __call__(self, result: AnomalyResult) -> tuple[Words, ...]:
        """Words for each of the result's boxes, the highest score first; the hottest twenty are named."""
        masks = [mask for (mask, _), _ in zip(areas_of(result.mask(), result.score_map), range(_MOST), strict=False)]
        if not masks:
            return ()
        model: Any = self.inferencer.model
        with turn_of(model), torch.no_grad():
            features = F.normalize(model.embed(self._ready(result.image))[1][0], dim=-1)  # (h, w, E)
            areas = torch.from_numpy(np.stack(masks)).to(features)[:, None]
            weights = F.adaptive_avg_pool2d(areas, (features.shape[0], features.shape[1]))[:, 0]
            pooled = F.normalize(torch.einsum('nhw,hwe->ne', weights, features), dim=-1)
            crops = [model.embed(self._ready(surroundings(result.image, mask)))[0][0] for mask in masks]
            pooled = F.normalize(pooled + F.normalize(torch.stack(crops), dim=-1), dim=-1)
            shares = (_SCALE * pooled @ self.text.T).softmax(dim=1)[:, : len(self.words)].cpu().numpy()
        return tuple(tuple((self.words[k], float(row[k])) for k in np.argsort(-row, kind='stable')) for row in shares)

    def _ready(self, image: np.ndarray) -> torch.Tensor:
        """A picture (H, W, 3), RGB, as the model takes it, (1, 3, h, w)."""
        packed = self.inferencer._pack(np.ascontiguousarray(image[..., ::-1]))
        [ready] = self.inferencer.model.data_preprocessor(pseudo_collate([packed]), False)['inputs']
        return ready[None]


def surroundings(image: np.ndarray, mask: np.ndarray, factor: float = 3.0) -> np.ndarray:
    """The square around an area, a few times as long as its box, as far as the picture reaches.

    Args:
        image: Shape (H, W, 3).
        mask: Bool, shape (H, W), not empty.
        factor: How many times.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    side = factor * max(rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1, 8)
    spans = []
    for places, length in ((rows, image.shape[0]), (columns, image.shape[1])):
        middle = (places[0] + places[-1] + 1) / 2
        spans.append(slice(max(0, int(middle - side / 2)), min(length, int(np.ceil(middle + side / 2)))))
    return image[spans[0], spans[1]]
