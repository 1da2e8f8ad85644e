"""Linear heads on CLIP's blocks, trained on another anomaly set (APRIL-GAN, Chen et al., arXiv 2305.17382)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor, nn

from denseclip.clip.towers import DenseReadOut
from denseclip.core.precision import full_precision
from denseclip.models.functional.anomaly_losses import probability_dice_loss, probability_focal_loss
from denseclip.models.functional.anomaly_scores import abnormal_probability, upsample
from denseclip.structures import AnomalyDataSample
from denseclip.weights import load_into, read_state_dict, resolve, strip_prefix, weight_file
from denseclip.weights.convert import convert

from .answers import PictureScore
from .base import AnomalyModel


@MODELS.register_module()
class AprilGAN(AnomalyModel):
    """A frozen CLIP and one trained linear layer per tapped block that moves its patches into the joint space.

    Every layer gives a map: ``scale`` times the cosines with the two states, upsampled, softmax. The result is their
    mean (the authors add them up, which ranks alike); the score is the softmax of the image embedding.

    Args:
        clip: See :class:`AnomalyModel`; the paper's is OpenAI's ViT-L-14-336 at 518 pixels.
        prompts: See :class:`AnomalyModel`.
        layers: Tapped blocks, counted from 1.
        scale: Factor of the cosines (the inverse temperature).
        heads: Weights of the linear layers: a file of the authors' or of ours; None starts afresh.
        **kwargs: Arguments of :class:`AnomalyModel`.
    """

    weights_named_by = ('clip', 'heads')

    def __init__(
        self,
        clip: Any,
        prompts: str | Mapping[str, Any] = 'april_gan',
        layers: Sequence[int] = (6, 12, 18, 24),
        scale: float = 100.0,
        heads: str | Path | None = None,
        **kwargs: Any,
    ) -> None:
        taps = tuple(layer - 1 for layer in layers)
        read_out = DenseReadOut(out_indices=taps, dense=False, pos_resize='bicubic', antialias=True)
        super().__init__(clip, prompts, read_out=read_out, **kwargs)
        width = self.image_tower.embed_dim
        self.fc = nn.ModuleList(nn.Linear(channels, width) for channels in self.image_tower.stage_channels)
        self.scale = scale
        if heads is not None:
            state = convert(read_state_dict(weight_file(resolve(str(heads)))), 'april_gan')
            load_into(self.fc, strip_prefix(state, 'fc.'), source=str(heads))

    def layer_maps(self, images: Tensor, states: Tensor) -> tuple[list[Tensor], Tensor]:
        """Probabilities of the two states by every layer, and the image embeddings.

        Shape:
            - images: :math:`(N, 3, H, W)`; states: :math:`(N, 2, E)`
            - results: :math:`(N, 2, H, W)` each, and :math:`(N, E)`
        """
        out = self.image_tower(images)
        size = (images.shape[-2], images.shape[-1])
        maps = []
        with full_precision(images.device.type):
            for layer, stage in zip(self.fc, out.stages, strict=True):
                tokens = F.normalize(layer(stage.float().permute(0, 2, 3, 1)), dim=-1)
                cosines = torch.einsum('nhwe,nce->nchw', tokens, states)
                maps.append(upsample(self.scale * cosines, size).softmax(dim=1))
        return maps, out.pooled.float()

    def score_picture(self, image: Tensor, name: str) -> PictureScore:
        """Raw map and score of one picture (1, 3, H, W), both in 0..1."""
        states = self.text_of(name).states
        maps, pooled = self.layer_maps(image, states[None])
        score = abnormal_probability(pooled, states, 1 / self.scale)
        return PictureScore(torch.stack(maps).mean(dim=0)[0, 1], score[0])

    def loss(self, inputs: Tensor, data_samples: Sequence[AnomalyDataSample]) -> dict[str, Tensor]:
        """Focal and Dice loss of every layer's map, summed over the layers.

        Args:
            inputs: Normalised pictures (N, 3, H, W) of one size.
            data_samples: Their ``gt_mask`` has the inputs' size.
        """
        names = [self.name_in(sample) for sample in data_samples]
        states = torch.stack([self.text_of(name).states for name in names])
        masks = torch.stack([sample.gt_mask.data.reshape(inputs.shape[-2:]) for sample in data_samples])
        labels = (masks.to(inputs.device) > 0).long()
        maps, _ = self.layer_maps(inputs, states)
        focal = torch.stack([probability_focal_loss(m, labels) for m in maps]).sum()
        dice = torch.stack([probability_dice_loss(m[:, 1], labels) for m in maps]).sum()
        return {'loss_focal': focal, 'loss_dice': dice}
