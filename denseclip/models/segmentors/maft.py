"""MAFT+: FC-CLIP whose trunk is fine-tuned with its masks, and whose text looks at the picture."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.registry import MODELS
from torch import Tensor

from denseclip.clip.towers import ImageTower
from denseclip.models.backbones import TrunkFeatures
from denseclip.models.builder import build_module
from denseclip.models.functional.maft_losses import compensation_loss, mask_aware_loss
from denseclip.models.functional.vocabulary_ensemble import MaskProbabilities, out_of_vocabulary
from denseclip.models.unsaved import leave_out_of_checkpoints
from denseclip.structures.mask_proposals import MaskProposals

from .fcclip import FCCLIP


@MODELS.register_module()
class MAFTPlus(FCCLIP):
    """Open-vocabulary segmentation with a CLIP that learns to see masks, without forgetting what it knew.

    The mask generator learns as in FC-CLIP. CLIP's trunk learns from two losses of its own: its class probabilities
    shall follow how well masks fit (mask-aware loss), and the sums of its features shall stay near those of the
    original CLIP, the teacher (representation compensation). The text rows pass through a content-dependent transfer,
    which learns from the mask-aware loss. The projection into the joint space and the text tower stay frozen. Only
    "void" is taken from the trained classifier, unless an ``ensemble`` is asked for.

    One pass through the trunk serves the mask generator, which sees its maps without gradient, and the losses of the
    trunk. The teacher is always in evaluation mode. It is made when training begins, from the CLIP named in the config,
    and is not stored in checkpoints.

    Source: MAFT+ (Jiao et al., ECCV 2024).

    Args:
        clip: See :class:`FCCLIP`.
        head: See :class:`FCCLIP`.
        transfer: Settings of :class:`ContentDependentTransfer`; ``variant`` is ``'semantic'`` or ``'panoptic'`` and
            belongs to the checkpoint.
        mask_aware_weight: Weight of the mask-aware loss.
        compensation_weight: Weight of the representation compensation.
        scales: Scales of the latter.
        drop_path: Let the trunk drop residual branches while it trains, at its architecture's rate. In the authors'
            runs it did from the first evaluation on (iteration 5,000).
        scrambled_pixels: Give the transfer pixels as the authors' code does, see :meth:`CLIPMaskTrunk.embed_pixels`.
            The released weights need it.
        ensemble: Tell classes by FC-CLIP's ensemble of both classifiers, as Mask-Adapter does on MAFT+; otherwise
            ``alpha``, ``beta`` and ``ensemble_on_valid_mask`` have no effect.
        kwargs: Further arguments of :class:`FCCLIP`. With an ``adapter`` the transfer is frozen and nobody teaches.

    Attributes:
        transfer: Content-dependent transfer.
        teacher: Image tower of the original CLIP, or None before training.
    """

    teacher: ImageTower | None
    sourced_is_frozen = False

    def __init__(
        self,
        clip: Mapping[str, Any] | Any,
        head: Mapping[str, Any] | Any,
        transfer: Mapping[str, Any] | None = None,
        mask_aware_weight: float = 1.0,
        compensation_weight: float = 0.1,
        scales: tuple[int, ...] = (1, 2, 4),
        drop_path: bool = False,
        scrambled_pixels: bool = False,
        ensemble: bool = False,
        **kwargs: Any,
    ) -> None:
        if kwargs.get('refinement') is not None:
            raise ValueError('MAFTPlus trains its trunk by losses of its own; refinement is for FCCLIP.')
        self.drop_path, self.ensemble = drop_path, ensemble
        adapter, training = kwargs.pop('adapter', None), kwargs.pop('adapter_training', None)
        super().__init__(clip, head, **kwargs)
        self.mask_aware_weight, self.compensation_weight = mask_aware_weight, compensation_weight
        self.scales, self.scrambled_pixels = tuple(scales), scrambled_pixels
        self.transfer = build_module(
            {'type': 'ContentDependentTransfer', 'embed_dim': self.backbone.embed_dim, **(transfer or {})}
        )
        self.backbone.unfreeze()
        # Without a source of its own, the original CLIP is what the trunk is now, and checkpoints must keep it.
        self.teacher = self._copy_of_trunk() if self.parts.pretrained is None and adapter is None else None
        self.set_adapter(adapter, training)
        leave_out_of_checkpoints(self)

    @property
    def not_saved_prefixes(self) -> tuple[str, ...]:
        """The teacher is left out of checkpoints where CLIP has a source of its own."""
        return ('teacher.',) if self.parts.pretrained is not None else ()

    def init_weights(self) -> None:
        """Read the CLIP weights named in the config into the trunk and the teacher, once."""
        super().init_weights()
        if self.adapter is None:
            self.need_teacher()

    def train(self, mode: bool = True) -> MAFTPlus:
        """Set the mode; what is frozen stays in evaluation mode, and the trunk too unless it drops paths."""
        super().train(mode)
        if self.teacher is not None:
            self.teacher.eval()
        return self

    @property
    def trunk_drops_paths(self) -> bool:
        """See :meth:`RefinesRegions.trunk_drops_paths`."""
        return self.drop_path and self.adapter is None

    def _copy_of_trunk(self) -> ImageTower:
        return copy.deepcopy(self.backbone.tower).eval().requires_grad_(False)

    def need_teacher(self) -> ImageTower:
        """The original CLIP's image tower; its weights are read if a checkpoint has replaced the trunk's."""
        if self.teacher is None:
            model = self.parts.clip.model
            present = {name: value.clone() for name, value in model.state_dict().items()}
            self.parts.load()
            self.teacher = self._copy_of_trunk()
            model.load_state_dict(present)
        return self.teacher

    def clip_pixels(self, features: TrunkFeatures) -> Tensor:
        """Pixel embeddings (N, E, h, w) that the text and an adapter look at."""
        return self.backbone.embed_pixels(features, self.scrambled_pixels)

    def clip_rows(self, features: TrunkFeatures) -> tuple[Tensor, Tensor]:
        """Text rows that have seen the picture, and names per class."""
        rows, names = self.text_rows()
        # "void" belongs to the trained classifier: what is learnt here does not change it.
        return self.transferred(rows if self.trains_void else rows.detach(), features), names

    def transferred(self, rows: Tensor, features: TrunkFeatures) -> Tensor:
        """Text rows (R, D) after they have looked at each picture, (N, R, D)."""
        return self.transfer(rows, self.clip_pixels(features))

    def classify(self, features: TrunkFeatures, proposals: MaskProposals) -> MaskProbabilities:
        """Classes of masks: CLIP's, or the ensemble's, and "void" from the trained classifier."""
        if self.ensemble:
            return super().classify(features, proposals)
        clip = self.clip_logits(features, proposals.mask_logits)
        return out_of_vocabulary(self.trained_logits(proposals), clip, self.void_trust)

    def _losses(self, inputs: Tensor, data_samples: list[Any]) -> dict[str, Tensor]:
        """Losses of the mask generator, of the trunk and of the transfer."""
        self.need_weights()
        images, targets = self.pad(inputs), self._targets(inputs, data_samples)
        # Before the student's pass: where the teacher is still to be made, its weights go through the student's.
        teacher = self.need_teacher()
        features = self.backbone(images)
        with torch.no_grad():
            original = self.backbone.last_of(teacher(images))
        predictions = self.generate(features, data_samples, all_layers=True)
        losses = self.head.loss(predictions, targets)
        masks = predictions.last.mask_logits.detach()
        logits = self.clip_logits(features, masks)[..., :-1]
        labels, segments = [t.labels for t in targets], [t.masks for t in targets]
        losses['loss_mask_aware'] = self.mask_aware_weight * mask_aware_loss(logits, masks, labels, segments)
        compensation = compensation_loss(features.last, original, self.scales)
        losses['loss_compensation'] = self.compensation_weight * compensation
        return losses
