"""CLIP after its pretraining: picture and text features drawn to one distribution, what it knew kept."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from denseclip.clip.towers import DenseReadOut, ImageTower

from ..functional.contrastive import gather_pairs, hybrid_distillation_loss, random_alignment_loss
from ..open_clip_parts import OpenCLIPParts
from ..unsaved import leave_out_of_checkpoints
from .contrastive import clamp_saved_scale, clamp_scale, group_ids


@MODELS.register_module()
class RefinedCLIP(BaseModel):
    """A trained CLIP that narrows the gap between its pictures and its texts (CLIP-Refine).

    Two losses of pairs of pictures and captions: both features of a pair are drawn to one shared random vector, and the
    similarities within the batch to a mixture of what the CLIP said before and of the truth. Checkpoints hold the
    trained CLIP, state-dict names under ``clip.`` are open_clip's;
    :func:`denseclip.models.pretraining.export.export_pretrained` makes a folder of it.

    Args:
        clip: Arguments of :class:`~denseclip.models.open_clip_parts.OpenCLIPParts`.
        alignment: Weight of the random alignment; 0 leaves it out.
        alpha: Share of the truth in the targets of the distillation.
        data_preprocessor: Of MMEngine; default: RGB with the mean and std of the weights.
        init_cfg: Of MMEngine.

    Source: Yamaguchi et al., "Post-pre-training for Modality Alignment in Vision-Language Foundation Models", CVPR
    2025, as the paper is described, not compared with its code. Features are aligned as they leave the towers, since
    vectors of length one cannot follow a normal distribution.
    """

    def __init__(
        self,
        clip: Mapping[str, Any],
        alignment: float = 1.0,
        alpha: float = 0.5,
        data_preprocessor: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        if not 0 <= alpha <= 1:
            raise ValueError(f'RefinedCLIP: alpha={alpha} is a share; it must lie between 0 and 1.')
        parts = OpenCLIPParts(**clip)
        parts.load()
        self.alignment, self.alpha = alignment, alpha
        normalisation = dict(type='ImgDataPreprocessor', **parts.clip.preprocess.as_255(), bgr_to_rgb=True)
        super().__init__(data_preprocessor or normalisation, init_cfg)
        before = copy.copy(parts.clip)
        before.model = copy.deepcopy(parts.clip.model)
        self.parts = [parts]  # in a list: its model is no second child
        self.clip: Any = parts.clip.model
        self.teacher: nn.Module = before.model.requires_grad_(False)
        read_out = DenseReadOut(dense=False, pooled=True)
        self._loaded = [parts.clip, before]
        self._image_towers = [loaded.image_tower(read_out) for loaded in self._loaded]
        self.register_state_dict_pre_hook(clamp_saved_scale)
        leave_out_of_checkpoints(self)

    @property
    def not_saved_prefixes(self) -> tuple[str, ...]:
        """What the CLIP was before is left out of checkpoints where it has a source of its own."""
        return ('teacher.',) if self.parts[0].has_source else ()

    def train(self, mode: bool = True) -> RefinedCLIP:
        """Set the mode; the CLIP of before stays in evaluation mode."""
        super().train(mode)
        self.teacher.eval()
        return self

    def embed(self, images: Tensor, captions: Sequence[str], before: bool = False) -> tuple[Tensor, Tensor]:
        """Features of pictures (N, E) and captions (B, E) as they leave the towers.

        Args:
            images: Normalised pictures (N, 3, H, W).
            captions: Sentences; too long ones are cut.
            before: Of the CLIP as it was.
        """
        text_tower = self._loaded[before].text_tower()
        tokens = text_tower.tokenize(captions, truncate=True).to(images.device)
        return _pooled(self._image_towers[before], images), text_tower.encode_tokens(tokens)[0]

    def forward(
        self, inputs: Tensor, data_samples: Sequence[BaseDataElement] | None = None, mode: str = 'tensor'
    ) -> Any:
        """Run the model.

        Args:
            inputs: Normalised pictures (N, 3, H, W).
            data_samples: Of ``PackCaption``: ``caption`` and ``caption_group``.
            mode: ``'loss'``; ``'predict'``, which adds unit-length ``image_embedding`` and ``text_embedding`` (E) to
                the samples, and those ``_before``; or ``'tensor'``: unit-length embeddings of the pictures.

        Raises:
            ValueError: Captions are needed and there are none.
        """
        if mode == 'tensor':
            return F.normalize(_pooled(self._image_towers[0], inputs), dim=-1)
        if not data_samples or not all(sample.get('caption') for sample in data_samples):
            raise ValueError(f"mode='{mode}' needs data samples with captions: end the pipeline with PackCaption")
        captions = [sample.caption for sample in data_samples]
        if mode == 'predict':
            for ending, before in (('', False), ('_before', True)):
                both = _unit(self.embed(inputs, captions, before))
                for sample, image, text in zip(data_samples, *both, strict=True):
                    sample.set_data({f'image_embedding{ending}': image, f'text_embedding{ending}': text})
            return list(data_samples)
        return self.loss(inputs, captions, group_ids([sample.caption_group for sample in data_samples], inputs.device))

    def loss(self, pictures: Tensor, captions: Sequence[str], groups: Tensor) -> dict[str, Tensor]:
        """Losses ``loss_align`` and ``loss_distill``, the latter over the batches of all processes.

        Args:
            pictures: Normalised (N, 3, H, W).
            captions: Theirs.
            groups: Integers (N); pairs with equal ones are true of each other.
        """
        clamp_scale(self.clip)
        mine = self.embed(pictures, captions)
        with torch.no_grad():
            theirs = self.embed(pictures, captions, before=True)
        losses = {}
        if self.alignment:
            losses['loss_align'] = self.alignment * random_alignment_loss(*mine, torch.randn_like(mine[0]))
        images, texts, all_groups = gather_pairs(*_unit(mine), groups)
        known_images, known_texts, _ = gather_pairs(*_unit(theirs), groups)
        teacher: Any = self.teacher
        scales = self.clip.logit_scale.exp(), teacher.logit_scale.exp()
        losses['loss_distill'] = hybrid_distillation_loss(
            (images, texts), (known_images, known_texts), scales, self.alpha, all_groups
        )
        return losses


def _unit(pair: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return F.normalize(pair[0], dim=-1), F.normalize(pair[1], dim=-1)


def _pooled(tower: ImageTower, images: Tensor) -> Tensor:
    pooled = tower(images).pooled
    assert pooled is not None
    return pooled
