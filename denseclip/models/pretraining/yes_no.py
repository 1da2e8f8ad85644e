"""CLIP learns to say no: a second text tower beside two frozen ones, trained on captions (CLIPN)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from mmengine.structures import BaseDataElement
from torch import Tensor

from denseclip.clip.loading import LoadedCLIP
from denseclip.clip.text import CLIPTextTower, NoTextTower
from denseclip.core.lazy_weights import LazyWeights

from ..functional.contrastive import gather_pairs
from ..functional.yes_no import yes_no_losses
from .contrastive import group_ids
from .mask_adaptation import loaded_clip


@MODELS.register_module()
class YesNoCLIP(LazyWeights, BaseModel):
    """CLIPN in training. Both towers of CLIP are frozen; the tower that says no begins as a copy of the text tower.

    State-dict names under ``clip.`` are open_clip's, those under ``no_text.`` of
    :class:`~denseclip.clip.text.NoTextTower`. Batches come from ``PackCaption``. The losses run over the batches of all
    processes; a caption of the same group as another picture's own is no denial of that picture.

    Args:
        clip: Arguments of :class:`~denseclip.models.open_clip_parts.OpenCLIPParts`, or a loaded model.
        num_prompts: Learned vectors that are added to every word.
        loss_weight: Of the sum of the three losses.
        data_preprocessor: Of MMEngine; default: RGB with the mean and std of the weights.
        init_cfg: Of MMEngine.

    Raises:
        ValueError: If CLIP's text tower is of another kind.

    Source: Wang et al., "CLIPN for Zero-Shot OOD Detection: Teaching CLIP to Say No", ICCV 2023, section 3.
    """

    sourced_prefixes = ('clip.',)
    has_source = False  # it is read at once

    def __init__(
        self,
        clip: Mapping[str, Any] | LoadedCLIP,
        num_prompts: int = 16,
        loss_weight: float = 0.5,
        data_preprocessor: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        loaded, _, fresh = loaded_clip(clip)
        super().__init__(
            data_preprocessor or dict(type='ImgDataPreprocessor', **loaded.preprocess.as_255(), bgr_to_rgb=True),
            init_cfg,
        )
        text = loaded.text_tower()
        if not isinstance(text, CLIPTextTower):
            raise ValueError(f'a tower that says no needs a causal text tower of CLIP, not {type(text).__name__}')
        self.loaded, self._text = [loaded], [text]  # in lists: no submodules
        self.clip = loaded.model.eval().requires_grad_(False)
        self.no_text = NoTextTower(text, num_prompts)
        self.no_text.requires_grad_(True)
        self.loss_weight = loss_weight
        self._has_weights = not fresh
        self.watch_loading()

    def train(self, mode: bool = True) -> YesNoCLIP:
        """Set the mode; the frozen towers stay in evaluation mode."""
        super().train(mode)
        self.clip.eval()
        return self

    def forward(
        self, inputs: Tensor, data_samples: Sequence[BaseDataElement] | None = None, mode: str = 'tensor'
    ) -> Any:
        """Run the model.

        Args:
            inputs: Normalised pictures (N, 3, H, W).
            data_samples: Hold ``caption`` and ``caption_group`` in their metainfo.
            mode: ``'loss'``, or ``'tensor'``: unit-length embeddings of the pictures.

        Raises:
            ValueError: Captions are needed and there are none, or another mode is asked for.
        """
        clip: Any = self.clip
        with torch.no_grad():
            images = F.normalize(clip.encode_image(inputs), dim=-1)
        if mode == 'tensor':
            return images
        if mode != 'loss':
            raise ValueError("YesNoCLIP is used in training; export it, and use background='clipn' of a preset.")
        if not data_samples or not all(sample.get('caption') for sample in data_samples):
            raise ValueError("mode='loss' needs data samples with captions: end the pipeline with PackCaption")
        groups = group_ids([sample.caption_group for sample in data_samples], inputs.device)
        return self.loss(images, [sample.caption for sample in data_samples], groups)

    def loss(self, images: Tensor, captions: Sequence[str], groups: Tensor) -> dict[str, Tensor]:
        """The three losses of CLIPN, weighted, and how often pictures accept their own caption and deny others.

        Args:
            images: Unit-length embeddings (N, E).
            captions: One of each picture.
            groups: Integers (N), equal where a caption is true of both pictures.
        """
        text: Any = self._text[0]
        tokens = text.tokenize(list(captions), truncate=True).to(images.device)
        with torch.no_grad():
            yes = F.normalize(text.encode_tokens(tokens)[0], dim=-1)
        no = F.normalize(self.no_text.encode_tokens(tokens)[0], dim=-1)
        images, both, groups = gather_pairs(images, torch.cat([yes, no], dim=-1).to(images.dtype), groups)
        yes, no = both.chunk(2, dim=-1)
        scale = self.clip.logit_scale.exp()  # type: ignore[operator,union-attr]
        others = groups[:, None] != groups[None]
        losses = yes_no_losses(images, yes, no, scale, others=others)
        with torch.no_grad():
            accepts = images @ (yes - no).T > 0
            own = torch.eye(len(images), dtype=torch.bool, device=images.device)
        return {
            'loss_yes': self.loss_weight * losses.yes,
            'loss_no': self.loss_weight * losses.no,
            'loss_opposite': self.loss_weight * losses.opposite,
            'accepted': accepts[own].float().mean(),
            'denied': (~accepts & others).sum() / others.sum().clamp_min(1),
        }
