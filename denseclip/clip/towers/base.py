"""What an image tower answers, and the data that describes how it is read."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor, nn

from denseclip.weights.positions import POSITION_MODES

from ..blocks import ATTENTIONS
from ..preprocess import PreprocessSpec


@dataclass(frozen=True)
class DenseReadOut:
    """How dense features are read out of a tower. Plain data: new training-free methods are new values, not new code.

    Attributes:
        out_indices: Which stages to return: ResNet and ConvNeXt stages 0..3, or 0-based transformer blocks. None
            means all four stages, respectively no blocks.
        dense: Compute the pixel embeddings (and everything behind the last stage asked for).
        pooled: Compute the image embedding.
        attention: Of the last ``layers`` blocks or of the attention pool: ``'qk'`` as trained (DenseCLIP), ``'value'``
            every token its own value (MaskCLIP).
        residual: Keep the residual connection of those blocks.
        ffn: Keep the feed-forward branch of those blocks.
        layers: How many last transformer blocks the three settings above apply to.
        pos_resize: ``'bilinear'``, ``'bicubic'`` or ``'crop'``, see :func:`denseclip.weights.resize_positions`.
        antialias: Low-pass filter when the position grid shrinks.
        double_class_embedding: Add the class embedding to the class token twice, as DenseCLIP's released ViT
            weights were trained (a slip of the authors' code).
    """

    out_indices: tuple[int, ...] | None = None
    dense: bool = True
    pooled: bool = True
    attention: str = 'qk'
    residual: bool = True
    ffn: bool = True
    layers: int = 1
    pos_resize: str = 'bilinear'
    antialias: bool = False
    double_class_embedding: bool = False

    def __post_init__(self) -> None:
        if self.out_indices is not None:
            object.__setattr__(self, 'out_indices', tuple(self.out_indices))
        for name, known in (('attention', ATTENTIONS), ('pos_resize', POSITION_MODES)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name}='{getattr(self, name)}' is unknown; choose from {', '.join(known)}.")

    @property
    def as_trained(self) -> bool:
        """Whether the last blocks run just as they were trained."""
        return self.attention == 'qk' and self.residual and self.ffn


@dataclass
class TowerOutput:
    """Answer of an image tower.

    Attributes:
        stages: Feature maps (N, C_i, h_i, w_i), in the order of ``out_indices``.
        dense: Pixel embeddings in the joint space, (N, E, h, w), not normalised; None if not asked for.
        pooled: Image embedding (N, E), not normalised; None if not asked for.
    """

    stages: list[Tensor] = field(default_factory=list)
    dense: Tensor | None = None
    pooled: Tensor | None = None


class ImageTower(nn.Module):
    """Base of the towers. The wrapped open_clip module is ``visual``, so state-dict names are ``visual.*``.

    Attributes:
        visual: open_clip's image tower, unchanged.
        read_out: What :meth:`forward` returns.
        preprocess: How pictures must be normalised.
        embed_dim: Size of the joint space.
        stage_channels: Channels of the stages returned.
        stage_strides: Their strides.
    """

    embed_dim: int
    stage_channels: tuple[int, ...]
    stage_strides: tuple[int, ...]

    def __init__(self, visual: nn.Module, read_out: DenseReadOut | None, preprocess: PreprocessSpec | None) -> None:
        super().__init__()
        self.visual = visual
        self.read_out = read_out if read_out is not None else DenseReadOut()
        self.preprocess = preprocess if preprocess is not None else PreprocessSpec()
        self.grad_checkpointing = False

    def forward(self, images: Tensor) -> TowerOutput:
        """Run the tower.

        Args:
            images: Normalised pictures (N, 3, H, W) of any size.
        """
        raise NotImplementedError

    def checked_indices(self, count: int, default: tuple[int, ...]) -> tuple[int, ...]:
        """The stages asked for, after a check that the tower has them."""
        wanted = default if self.read_out.out_indices is None else self.read_out.out_indices
        bad = [i for i in wanted if not 0 <= i < count]
        if bad or list(wanted) != sorted(set(wanted)):
            raise ValueError(f'out_indices={wanted}: give rising numbers from 0 to {count - 1} for this tower.')
        return wanted
