"""CLIP's ModifiedResNet as a dense tower."""

from __future__ import annotations

from collections.abc import Sequence

from open_clip.modified_resnet import ModifiedResNet
from torch import Tensor, nn

from ..attention import Guide
from ..errors import NoReadOutError
from ..mask_prompts import MaskPrompts
from ..preprocess import PreprocessSpec
from .attention_pool import attend, attention_pool, pool_tokens, value_projection
from .base import DenseReadOut, ImageTower, TowerOutput


class ResNetTower(ImageTower):
    """Four stages at strides 4 to 32 and the attention pool over all pixels.

    Args:
        visual: open_clip's ``ModifiedResNet``; without ``attnpool`` only stages can be read.
        read_out: What to return.
        preprocess: Of the weights.
    """

    visual: ModifiedResNet

    def __init__(
        self,
        visual: ModifiedResNet,
        read_out: DenseReadOut | None = None,
        preprocess: PreprocessSpec | None = None,
    ) -> None:
        super().__init__(visual, read_out, preprocess)
        self.refuse_attention('qk', 'value')
        self.indices = self.checked_indices(4, (0, 1, 2, 3))
        layers = (visual.layer1, visual.layer2, visual.layer3, visual.layer4)
        channels = [layer[-1].conv3.out_channels for layer in layers]
        self.stage_channels = tuple(channels[i] for i in self.indices)
        self.stage_strides = tuple((4, 8, 16, 32)[i] for i in self.indices)
        self.embed_dim = visual.output_dim
        if visual.attnpool is None and (self.read_out.dense or self.read_out.pooled):
            raise NoReadOutError('this ResNet has no attention pool: read_out needs dense=False and pooled=False.')

    def forward(self, images: Tensor, guide: Guide | None = None, prompts: MaskPrompts | None = None) -> TowerOutput:
        """See :meth:`ImageTower.forward`; odd sizes round up in the stem's convolution and down in every pooling."""
        self.refuse_guide(guide)
        self.refuse_prompts(prompts)
        visual, out = self.visual, TowerOutput()
        need_last = self.read_out.dense or self.read_out.pooled
        x = visual.stem(images)
        for index, layer in enumerate((visual.layer1, visual.layer2, visual.layer3, visual.layer4)):
            if not need_last and index > max(self.indices, default=-1):
                break
            x = layer(x)
            if index in self.indices:
                out.stages.append(x)
        if need_last:
            out.pooled, out.dense = self._pool(x)
            if self.read_out.keys is not None:
                out.keys = visual.attnpool.k_proj(x.flatten(2).transpose(1, 2))
        return out

    def _pool(self, x: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Image and pixel embeddings of the last feature map (N, C, h, w)."""
        pool, read_out = self.visual.attnpool, self.read_out
        if read_out.dense and read_out.attention == 'qk':
            both = attention_pool(pool, x, pos_resize=read_out.pos_resize, antialias=read_out.antialias)
            return (both[0] if read_out.pooled else None), both[1]
        pooled = None
        if read_out.pooled:
            tokens = pool_tokens(pool, x, read_out.pos_resize, read_out.antialias)
            pooled = attend(pool, tokens[:, :1], tokens)[:, 0]
        return pooled, value_projection(pool, x) if read_out.dense else None


def build_resnet(
    layers: Sequence[int] = (3, 4, 6, 3),
    *,
    width: int = 64,
    embed_dim: int = 1024,
    image_size: int = 224,
    heads: int | None = None,
    attention_pool: bool = True,
    stem_width: int | None = None,
) -> ModifiedResNet:
    """A ModifiedResNet with fresh weights; defaults are RN50's.

    Args:
        layers: Blocks per stage.
        width: Channels of the stem.
        embed_dim: Size of the joint space.
        image_size: Picture side that the attention pool's positions are for.
        heads: Heads of the attention pool; None for CLIP's rule, ``width / 2`` (a head size of 64).
        attention_pool: False leaves the pool out (pure feature backbone).
        stem_width: Channels of the stem, where they differ from ``width`` (in no released model).
    """
    visual = ModifiedResNet(
        list(layers), output_dim=embed_dim, heads=heads or max(width // 2, 1), image_size=image_size, width=width
    )
    if stem_width is not None and stem_width != width:
        half = stem_width // 2
        for number, (inside, outside) in enumerate(((3, half), (half, half), (half, stem_width)), start=1):
            old = getattr(visual, f'conv{number}')
            setattr(visual, f'conv{number}', nn.Conv2d(inside, outside, 3, old.stride, padding=1, bias=False))
            setattr(visual, f'bn{number}', nn.BatchNorm2d(outside))
        visual._inplanes = stem_width
        visual.layer1 = visual._make_layer(width, layers[0])
    if not attention_pool:
        visual.attnpool = None
    return visual
