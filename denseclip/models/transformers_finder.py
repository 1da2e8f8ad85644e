"""Masks of everything, whatever it is called, from models of transformers: SAM, SAM 2, SAM 3, EoMT."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from denseclip.core.precision import full_precision
from denseclip.models.unsaved import leave_out_of_checkpoints
from denseclip.weights import WeightFileError

from .sam3_concepts import SAM3Concepts, picture_facts
from .transformers_parts import folder_of, part_of_transformers, pictures_of, pretrained_model, settings_of, side_of

Found: TypeAlias = tuple[Tensor, Tensor]
"""Boolean masks (Q, H, W) of a picture, and how sure the model is of each, (Q,)."""
PROMPTED = {
    'sam': ('SamModel', 'SamImageProcessor'),
    'sam2': ('Sam2Model', 'Sam2ImageProcessor'),
    'sam2_video': ('Sam2Model', 'Sam2ImageProcessor'),
    'sam3_tracker': ('Sam3TrackerModel', 'Sam3ImageProcessor'),
    'sam3_video': ('Sam3TrackerModel', 'Sam3ImageProcessor'),
}
"""Models that give masks of points, asked at a grid of them; by ``model_type``."""
QUERIES = {'eomt': 'EomtForUniversalSegmentation', 'eomt_dinov3': 'EomtDinov3ForUniversalSegmentation'}
"""Models whose queries are masks of the classes that they were trained on."""
POINT_OPTIONS = (
    'points_per_batch',
    'points_per_crop',
    'crops_n_layers',
    'crop_overlap_ratio',
    'crop_n_points_downscale_factor',
    'pred_iou_thresh',
    'stability_score_thresh',
    'stability_score_offset',
    'mask_threshold',
    'max_hole_area',
    'max_sprinkle_area',
    'crops_nms_thresh',
)
"""What transformers' mask generation can be told; it drops other names without a word."""
_AT_ONCE = 16  # masks that are enlarged together
KINDS = ('sam3', *PROMPTED, *QUERIES)


class TransformersFinder(nn.Module):
    """Masks from the folder of a model; its weights stay out of checkpoints.

    Args:
        source: Folder that transformers' ``save_pretrained()`` or the hub's download wrote, or another source of
            ``denseclip.weights.resolve``. Only safetensors are read.
        words: For SAM 3: noun phrases to look for, ``'object'`` or many; without, its tracker is asked at a grid of
            points, which only the whole published model has.
        least_score: Masks below are left out, 0..1; None: 0.3 for words, 0.5 for EoMT. SAM has thresholds of its own.
        **options: For models that are asked at points, those of transformers' mask generation: ``points_per_crop``,
            ``pred_iou_thresh``, ``stability_score_thresh``, ``crops_n_layers`` ...

    Raises:
        ImportError: If transformers is not installed, or does not have the model.
        FileNotFoundError: If the source is not there.
        WeightFileError: If the folder holds no such model.
        WeightMismatchError: If weights are missing in it.
    """

    not_saved_prefixes = ('',)
    stays_in_float32 = True

    def __init__(
        self,
        source: str | Path,
        words: Sequence[str] | str | None = None,
        least_score: float | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        who = type(self).__name__
        part_of_transformers('PreTrainedModel', who)
        folder = folder_of(source)
        kind = settings_of(folder, KINDS)['model_type']
        self.words = (words,) if isinstance(words, str) else tuple(words or ())
        self.options, self.least_score = options, least_score
        if self.words and kind not in ('sam3', 'sam3_video'):
            raise ValueError(f"words= are for SAM 3; '{folder}' holds {kind}, which knows no words: leave them out.")
        self._check_options(kind)
        self._find: Callable[[np.ndarray], Found]
        if self.words:
            self.model: Any = SAM3Concepts(pretrained_model('Sam3Model', folder, KINDS, who))
            self.facts, self._find = picture_facts(folder), self._by_words
        elif kind == 'sam3':
            raise WeightFileError(
                f"'{folder}' holds SAM 3's detector alone, which looks for words: say which by words=, such as "
                "'object', or take the whole published model (sam3_video), whose tracker needs none."
            )
        elif kind in PROMPTED:
            name, processor = PROMPTED[kind]
            self.model = pretrained_model(name, folder, KINDS, who)
            self._processor = part_of_transformers(processor, who)(**_settings(pictures_of(folder)))
            self._find = self._by_points
        else:
            self.model = pretrained_model(QUERIES[kind], folder, KINDS, who)
            self._processor = part_of_transformers('EomtImageProcessor', who)(**_settings(pictures_of(folder)))
            self._find = self._by_queries
        leave_out_of_checkpoints(self)

    def _check_options(self, kind: str) -> None:
        by_points = kind in PROMPTED and not self.words
        if self.options and not by_points:
            raise ValueError(f'{", ".join(self.options)}: only models that are asked at points take such options.')
        if by_points and self.least_score is not None:
            raise ValueError(
                f'least_score is for words and for EoMT; {kind} asked at points takes pred_iou_thresh and '
                'stability_score_thresh.'
            )
        for name in self.options:
            if name not in POINT_OPTIONS:
                near = difflib.get_close_matches(name, POINT_OPTIONS, n=1)
                hint = f'did you mean {near[0]}?' if near else f'there are {", ".join(POINT_OPTIONS)}.'
                raise ValueError(f"'{name}' is no option of transformers' mask generation: {hint}")

    def train(self, mode: bool = True) -> TransformersFinder:
        """Stay in evaluation mode."""
        del mode
        return super().train(False)

    @torch.no_grad()
    def find(self, picture: Tensor) -> Found:
        """Masks of a picture, RGB uint8 (H, W, 3); in float32, which transformers' processors ask for."""
        with full_precision(self._device.type):
            return self._find(picture.cpu().numpy())

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    def _by_points(self, picture: np.ndarray) -> Found:
        """The mask generation of transformers."""
        from PIL import Image
        from transformers import MaskGenerationPipeline

        ask = MaskGenerationPipeline(model=self.model, image_processor=self._processor, device=self._device)
        found = ask(Image.fromarray(picture), **self.options)
        masks = [torch.as_tensor(np.asarray(mask)).bool() for mask in found['masks']]
        together = torch.stack(masks) if masks else torch.zeros((0, *picture.shape[:2]), dtype=torch.bool)
        return together, torch.as_tensor(np.asarray(found['scores']), dtype=torch.float32).reshape(len(masks))

    def _by_queries(self, picture: np.ndarray) -> Found:
        """Masks of queries that are more one of the model's classes than nothing."""
        height, width = picture.shape[:2]
        side = side_of(self.model.config.image_size)[0]
        square = {'shortest_edge': side, 'longest_edge': side}
        # Published models of semantic segmentation cut pictures into squares, whose queries are not the same ones.
        given = self._processor(picture, size=square, do_pad=True, do_split_image=False, return_tensors='pt')
        out = self.model(given['pixel_values'].to(self._device))
        probabilities = out.class_queries_logits[0].softmax(dim=-1)
        scores, labels = probabilities.max(dim=-1)
        least = 0.5 if self.least_score is None else self.least_score
        kept = (labels < probabilities.shape[-1] - 1) & (scores >= least)
        if not bool(kept.any()):  # no size is made of no channel
            return torch.zeros((0, height, width), dtype=torch.bool, device=scores.device), scores[kept]
        logits = F.interpolate(out.masks_queries_logits[:, kept], size=(side, side), mode='bilinear')
        logits = torch.stack(self._processor.unpad_image(logits, [(height, width)], square))[0]
        return logits > 0, scores[kept]

    def _by_words(self, picture: np.ndarray) -> Found:
        """Masks of the objects that the words name."""
        height, width = picture.shape[:2]
        mean, std = (torch.tensor(self.facts[key], device=self._device).view(3, 1, 1) for key in ('mean', 'std'))
        pixels = torch.from_numpy(picture.copy()).permute(2, 0, 1).to(self._device)
        square = F.interpolate(
            pixels[None].float(), size=self.model.size, mode='bilinear', align_corners=False, antialias=True
        )
        image = (square[0].round().clamp(0, 255) / 255 - mean) / std
        masks, scores = [], []
        least = 0.3 if self.least_score is None else self.least_score
        for found in self.model.find(image, self.model.encode(self.words)):
            kept = found.scores >= least
            for logits in found.masks[kept].split(_AT_ONCE):  # of no mask: one part without any
                shares = F.interpolate(logits.sigmoid()[:, None], size=(height, width), mode='bilinear')[:, 0]
                masks.append(shares > 0.5)
            scores.append(found.scores[kept])
        return torch.cat(masks), torch.cat(scores)


def _settings(facts: dict[str, Any]) -> dict[str, Any]:
    """Arguments of an image processor from its file: plain values, never the name of code."""
    names = ('size', 'mask_size', 'pad_size', 'mask_pad_size', 'image_mean', 'image_std', 'resample', 'rescale_factor')
    flags = ('do_resize', 'do_rescale', 'do_normalize', 'do_convert_rgb', 'do_pad')
    return {key: facts[key] for key in (*names, *flags) if facts.get(key) is not None}
