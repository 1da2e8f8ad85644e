"""FC-CLIP whose CLIP learns to name the regions under predicted masks (OVRCOAT)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from mmengine.structures import InstanceData
from torch import Tensor, nn

from denseclip.models.backbones.base import batch_norms_to_eval
from denseclip.models.functional.mask_adapter import labelled_cross_entropy

if TYPE_CHECKING:
    from denseclip.models.backbones import CLIPMaskTrunk, TrunkFeatures
    from denseclip.models.heads.mask2former.matcher import Match
    from denseclip.models.heads.mask_head import MaskPredictions


@dataclass(frozen=True)
class RegionRefinement:
    """How CLIP's trunk learns with the mask generator.

    CLIP's classes of the masks that answer for a segment shall be the segment's. The trunk learns from that, and from
    the generator's losses; its last norm, the projection into the joint space and the text tower stay.

    Source: OVRCOAT (Kormushev et al., CVPR 2026), its mask-to-text refinement (OVR).

    Args:
        weight: Weight of the class loss of regions.
        on_probabilities: Take the cross entropy of a softmax of CLIP's probabilities, as the authors' code does, not of
            its logits: the loss of two classes then lies between 0.31 and 1.31, and pulls weakly.
        stages_teach: Let the generator's losses reach the trunk.
        drop_path: Let the trunk drop residual branches while it trains, at its architecture's rate.
        train_scale: Train the factor of CLIP's cosines as well.
    """

    weight: float = 0.1
    on_probabilities: bool = False
    stages_teach: bool = True
    drop_path: bool = True
    train_scale: bool = True


class RefinesRegions:
    """Mix-in of models with a :class:`CLIPMaskTrunk` that may train it.

    Attributes:
        refinement: How, or None: CLIP is frozen.
    """

    refinement: RegionRefinement | None
    backbone: CLIPMaskTrunk
    clip_logit_scale: nn.Parameter
    clip_logits: Any
    head: Any

    def set_refinement(self, settings: Mapping[str, Any] | None) -> None:
        """Train the trunk, or not; to be called by the constructor, when all other parts are there.

        Args:
            settings: Arguments of :class:`RegionRefinement`, or None.

        Raises:
            ValueError: If the mask head does not say which masks answer for which segments.
        """
        self.refinement = None if settings is None else RegionRefinement(**settings)
        if self.refinement is None:
            return
        if not getattr(self.head, 'tells_matches', False):
            raise ValueError(
                f'refinement needs the matches of the mask generator, and {type(self.head).__name__} gives none: '
                'take OpenVocabMask2FormerHead, or leave refinement out.'
            )
        self.sourced_is_frozen = False  # what is trained is stored
        self.backbone.unfreeze()
        self.backbone.stages_teach = self.refinement.stages_teach
        self.clip_logit_scale.requires_grad_(self.refinement.train_scale)

    @property
    def trunk_drops_paths(self) -> bool:
        """Whether the trunk drops residual branches while the model trains."""
        return self.refinement is not None and self.refinement.drop_path

    def train_trunk(self, mode: bool) -> None:
        """Set the trunk's mode: it drops paths where it is trained so, and nothing else changes."""
        self.backbone.tower.train(mode and self.trunk_drops_paths)
        batch_norms_to_eval(self.backbone.tower)

    def generator_losses(
        self, features: TrunkFeatures, predictions: MaskPredictions, targets: Sequence[InstanceData]
    ) -> dict[str, Tensor]:
        """Losses of the mask generator, and of CLIP's classes where CLIP learns."""
        if self.refinement is None:
            return self.head.loss(predictions, targets)

        def also(segments: Sequence[InstanceData], matches: Sequence[Match]) -> dict[str, Tensor]:
            return {'loss_region': self._region_loss(features, predictions, segments, matches)}

        return self.head.loss(predictions, targets, also=also)

    def _region_loss(
        self,
        features: TrunkFeatures,
        predictions: MaskPredictions,
        segments: Sequence[InstanceData],
        matches: Sequence[Match],
    ) -> Tensor:
        """Mean cross entropy of CLIP's classes of matched masks; zero, connected to CLIP, without any."""
        assert self.refinement is not None
        logits = self.clip_logits(features, predictions.last.mask_logits)[..., :-1]
        device = logits.device
        pictures = torch.cat([torch.full_like(queries, n) for n, (queries, _) in enumerate(matches)]).to(device)
        queries = torch.cat([queries for queries, _ in matches]).to(device)
        labels = torch.cat([s.labels[index.to(device)] for s, (_, index) in zip(segments, matches, strict=True)])
        found = logits[pictures, queries][None].float()
        if self.refinement.on_probabilities:
            found = found.softmax(dim=-1)
        return self.refinement.weight * labelled_cross_entropy(found, labels[None].long())
