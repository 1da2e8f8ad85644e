"""Convolutional timm trunks of open_clip (ConvNeXt above all) as dense towers."""

from __future__ import annotations

from typing import Any

import torch
from open_clip.timm_model import TimmModel
from torch import Tensor

from ..attention import Guide
from ..errors import NoReadOutError
from ..mask_prompts import MaskPrompts
from ..preprocess import PreprocessSpec
from .base import DenseReadOut, ImageTower, TowerOutput, fixed_size_error


class ConvTrunkTower(ImageTower):
    """Stages of a convolutional trunk; pixel embeddings by the trunk's norm and projection at every pixel.

    The image embedding is projection(norm(mean of pixels)); the pixel embedding is projection(norm(pixel)), which is
    how FC-CLIP reads ConvNeXt.

    Args:
        visual: open_clip's ``TimmModel`` around a trunk with ``forward_intermediates`` and a pooled classifier head.
        read_out: What to return; ``out_indices`` are stages.
        preprocess: Of the weights.
    """

    visual: TimmModel

    def __init__(
        self, visual: TimmModel, read_out: DenseReadOut | None = None, preprocess: PreprocessSpec | None = None
    ) -> None:
        super().__init__(visual, read_out, preprocess)
        self.refuse_attention('qk', 'value')
        trunk: Any = visual.trunk
        if not hasattr(getattr(trunk, 'head', None), 'global_pool'):
            raise NoReadOutError(f'{type(trunk).__name__} has no pooled classifier head, so no pixel embeddings.')
        info = trunk.feature_info
        self.indices = self.checked_indices(len(info), tuple(range(len(info)))[-4:])
        self.stage_channels = tuple(info[i]['num_chs'] for i in self.indices)
        self.stage_strides = tuple(info[i]['reduction'] for i in self.indices)
        self.multiple = (info[-1]['reduction'],) * 2
        projection = getattr(visual.head, 'proj', None) or getattr(getattr(visual.head, 'mlp', None), 'fc2', None)
        self.embed_dim = (projection or trunk.head.fc).out_features

    def forward(self, images: Tensor, guide: Guide | None = None, prompts: MaskPrompts | None = None) -> TowerOutput:
        """See :meth:`ImageTower.forward`."""
        self.refuse_guide(guide)
        self.refuse_prompts(prompts)
        trunk: Any = self.visual.trunk
        read_out = self.read_out
        embed = getattr(trunk, 'patch_embed', None)  # of a Swin; its masks are made for one size
        if getattr(embed, 'strict_img_size', False) and images.shape[-2:] != torch.Size(trunk.patch_embed.img_size):
            raise fixed_size_error(trunk, images)
        last, stages = trunk.forward_intermediates(images, indices=list(self.indices), norm=False)
        out = TowerOutput(stages=list(stages))
        if read_out.pooled:
            out.pooled = self.visual.head(trunk.forward_head(last))
        if read_out.dense:
            out.dense = self._project(last).permute(0, 3, 1, 2)
        return out

    def _project(self, last: Tensor) -> Tensor:
        """Pixels of the last map into the joint space, (N, h, w, E)."""
        trunk: Any = self.visual.trunk
        head = trunk.head
        pixels = head.norm(last) if hasattr(head, 'norm') else last
        if getattr(trunk, 'output_fmt', 'NCHW') != 'NHWC':  # Swin keeps its channels last
            pixels = pixels.permute(0, 2, 3, 1)
        return self.visual.head(head.fc(pixels))

    def embed(self, vectors: Tensor) -> Tensor:
        """Means of some pixels of the last map into the joint space, not normalised.

        Source: FC-CLIP (Yu et al., NeurIPS 2023), section 3.3.

        Shape:
            - vectors: :math:`(N, Q, C)`; result: :math:`(N, Q, E)`
        """
        last = vectors.flatten(0, 1)[:, :, None, None]
        if getattr(self.visual.trunk, 'output_fmt', 'NCHW') == 'NHWC':
            last = last.permute(0, 2, 3, 1)
        return self._project(last).reshape(*vectors.shape[:2], -1)
