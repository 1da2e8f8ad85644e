"""Prompt-guided mask proposals on FC-CLIP, MAFT+ and OVSeg."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.registry import MODELS
from torch import Tensor

from denseclip.models.backbones import TrunkFeatures
from denseclip.models.heads.mask_head import MaskHead
from denseclip.structures.mask_proposals import MaskProposals

from .fcclip import FCCLIP
from .maft import MAFTPlus
from .ovseg import OVSeg
from .prompt_guided import PromptGuided


class _GuidedTrunk(PromptGuided):
    """What the hosts on a :class:`CLIPMaskTrunk` share."""

    head: MaskHead
    text_rows: Any

    def propose(self, features: TrunkFeatures, samples: Sequence[Any] | None = None) -> MaskProposals:
        """Masks of pictures; the pixel decoder runs once, whatever the number of prompts.

        Args:
            features: Of the trunk.
            samples: Data samples, for prompts of their own.
        """
        pixels, (rows, names) = self.head.pixel_features(features.stages), self.text_rows()

        def run(guide: Any) -> MaskProposals:
            return self.head.decode(pixels, rows, names, guide, all_layers=False).proposals

        return self.guided_proposals(run, features.last.shape[0], samples)


@MODELS.register_module()
class PMPFCCLIP(_GuidedTrunk, FCCLIP):
    """FC-CLIP whose mask generator is guided by the prompts; arguments of :class:`PromptGuided` and the host.

    Any config of the host becomes this by its ``type``.
    """


@MODELS.register_module()
class PMPMAFTPlus(_GuidedTrunk, MAFTPlus):
    """MAFT+ whose mask generator is guided by the prompts; arguments of :class:`PromptGuided` and the host.

    Prompts are the text rows as CLIP gives them, before the content-dependent transfer. Any config of the host becomes
    this by its ``type``.
    """


@MODELS.register_module()
class PMPOVSeg(PromptGuided, OVSeg):
    """OVSeg whose first stage is guided by the prompts; arguments of :class:`PromptGuided` and the host.

    The queries look at the text between looking at each other and looking at the picture. Any config of the host
    becomes this by its ``type``.
    """

    def propose_from(self, features: Sequence[Tensor], samples: Sequence[Any] | None = None) -> MaskProposals:
        """Masks of pictures; the pixel decoder runs once, whatever the number of prompts.

        Args:
            features: Of the backbone.
            samples: Data samples, for prompts of their own.
        """
        pixels = self.decode_head.pixel_features(features)

        def run(guide: Any) -> MaskProposals:
            return self.generate(pixels, guide, all_layers=False).proposals

        return self.guided_proposals(run, features[0].shape[0], samples)
