"""Models of masks whose classification may be given a Mask-Adapter, and the adapter's two trainings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from denseclip.clip.towers import ResNetTower
from denseclip.models.builder import build_module
from denseclip.models.functional.mask_adapter import (
    consistency_loss,
    draw_masks,
    labelled_cross_entropy,
    match_by_iou,
)
from denseclip.models.functional.text_logits import text_logits

if TYPE_CHECKING:
    from denseclip.models.backbones import CLIPMaskTrunk, TrunkFeatures
    from denseclip.models.heads.mask_adapter import MaskAdapter

PHASES = ('ground_truth', 'mixed')


@dataclass(frozen=True)
class AdapterTraining:
    """How a Mask-Adapter learns; all else is frozen but for what is said here.

    The warm-up takes true masks alone: the classes of masks are learnt without any mask generator. Mixed training adds
    pairs of a predicted and a true mask that fit each other; both are classified, and their embeddings shall agree.

    Source: Mask-Adapter (Li et al., CVPR 2025), sections 3.3 and 3.4.

    Args:
        phase: ``'ground_truth'`` (warm-up) or ``'mixed'``.
        num_ground_truth: True masks per picture; None: 32 in the warm-up, 16 in mixed training.
        num_predicted: Pairs per picture.
        iou_threshold: IoU above which a predicted mask fits a true one.
        match_threshold: Probability from which on a pixel belongs to a predicted mask, for that IoU.
        class_weight: Weight of the class loss.
        consistency_weight: Weight of the agreement of embeddings.
        detach_true: Let only the predicted mask's side of a pair learn from the agreement.
        train_void: Train the row of "void" as well.
        whole_where_unmatched: Put a mask of the whole picture into places without a pair, on the predicted side alone:
            what the authors' code does where ``mask_threshold`` is below 0.5, so in the trainings on MAFT+.

    Raises:
        ValueError: If the phase is unknown.
    """

    phase: str = 'mixed'
    num_ground_truth: int | None = None
    num_predicted: int = 8
    iou_threshold: float = 0.7
    match_threshold: float = 0.5
    class_weight: float = 2.0
    consistency_weight: float = 5.0
    detach_true: bool = False
    train_void: bool = False
    whole_where_unmatched: bool = False

    def __post_init__(self) -> None:
        if self.phase not in PHASES:
            raise ValueError(f"adapter_training: phase='{self.phase}' is unknown; choose from {', '.join(PHASES)}.")

    @property
    def places(self) -> int:
        """True masks per picture."""
        if self.num_ground_truth is not None:
            return self.num_ground_truth
        return 32 if self.phase == 'ground_truth' else 16


class AdaptsMasks:
    """Mix-in of models with a :class:`CLIPMaskTrunk`: embeddings of masks by an adapter, if there is one.

    Attributes:
        adapter: The adapter, or None: features are averaged under each mask.
        adapter_training: How it learns.
    """

    adapter: MaskAdapter | None
    adapter_training: AdapterTraining
    backbone: CLIPMaskTrunk
    clip_logit_scale: nn.Parameter
    void_embedding: nn.Embedding
    extract_feat: Any
    propose: Any
    _targets: Any
    text_rows: Any

    def set_adapter(self, adapter: Mapping[str, Any] | nn.Module | None, training: Mapping[str, Any] | None) -> None:
        """Take an adapter; to be called by the constructor, when all other parts are there.

        Args:
            adapter: Config of :class:`MaskAdapter` without ``embed_dim``, the module, or None.
            training: Arguments of :class:`AdapterTraining`.

        Raises:
            ValueError: For a ResNet, or a training without an adapter.
        """
        self.adapter = None
        self.adapter_training = AdapterTraining(**(training or {}))
        if adapter is None:
            if training:
                raise ValueError('adapter_training says how a mask adapter learns, but there is none: give adapter.')
            return
        if isinstance(self.backbone.tower, ResNetTower):
            raise ValueError(
                'a mask adapter weighs the pixels of a map, but a ResNet pools them by attention: take a ConvNeXt or a '
                'transformer, or leave adapter out.'
            )
        config = (
            {'type': 'MaskAdapter', 'embed_dim': self.backbone.embed_dim, **adapter}
            if isinstance(adapter, Mapping)
            else adapter
        )
        self.requires_grad_(False)  # type: ignore[attr-defined]
        self.adapter = build_module(config)
        self.void_embedding.requires_grad_(self.adapter_training.train_void)

    @property
    def trains_void(self) -> bool:
        """Whether an adapter's training reaches the row of "void"."""
        return self.adapter is not None and self.adapter_training.train_void

    def clip_pixels(self, features: TrunkFeatures) -> Tensor:
        """Pixel embeddings (N, E, h, w) that an adapter looks at."""
        return self.backbone.embed_pixels(features)

    def clip_rows(self, features: TrunkFeatures) -> tuple[Tensor, Tensor]:
        """Text rows that CLIP's embeddings of masks are compared with, and names per class."""
        del features
        return self.text_rows()

    def embed_masks(self, features: TrunkFeatures, mask_logits: Tensor) -> Tensor:
        """CLIP's embeddings (N, Q, E) of predicted masks (N, Q, h, w), not normalised."""
        if self.adapter is None:
            return self.backbone.embed_masks(features, mask_logits)
        return self.adapted(features, self.adapter.binary(mask_logits))

    def adapted(self, features: TrunkFeatures, masks: Tensor) -> Tensor:
        """The adapter's embeddings (N, Q, E) of masks with values in 0..1."""
        assert self.adapter is not None
        return self.backbone.embed_activations(features, self.adapter(self.clip_pixels(features), masks))

    def adapter_losses(self, inputs: Tensor, samples: Sequence[Any]) -> dict[str, Tensor]:
        """Losses of the adapter.

        Args:
            inputs: Preprocessed pictures (N, 3, H, W).
            samples: With ground truth, see :func:`mask_targets`.
        """
        plan, adapter = self.adapter_training, self.adapter
        assert adapter is not None
        targets = self._targets(inputs, samples)
        drawn = draw_masks(targets, plan.places)
        with torch.no_grad():
            features = self.extract_feat(inputs)
            pixels = self.clip_pixels(features)
        masks, labels = [drawn.masks], [drawn.labels]
        if plan.phase == 'mixed':
            with torch.no_grad():
                found = self.propose(features, samples).mask_logits
            pairs = match_by_iou(found, targets, plan.num_predicted, plan.iou_threshold, plan.match_threshold)
            missing = (pairs.labels < 0)[:, :, None, None]
            predicted = adapter.binary(pairs.predicted)
            masks += [predicted.masked_fill(missing, float(plan.whole_where_unmatched)), pairs.true]
            labels += [pairs.labels, pairs.labels]
        maps = adapter.maps(pixels, adapter.at_size(pixels, masks))
        embeddings = self.backbone.embed_activations(features, maps)
        logits = text_logits(embeddings, *self.clip_rows(features), self.clip_logit_scale)
        losses = {'loss_ce': plan.class_weight * labelled_cross_entropy(logits, torch.cat(labels, dim=1))}
        if plan.phase == 'mixed':
            predicted, true = embeddings[:, plan.places :].chunk(2, dim=1)
            true = true.detach() if plan.detach_true else true
            losses['loss_consistency'] = plan.consistency_weight * consistency_loss(predicted, true)
        return losses
