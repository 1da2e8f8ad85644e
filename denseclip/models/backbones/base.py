"""What all backbones share: the shape of their output and the pictures that their weights expect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from denseclip.clip.preprocess import PreprocessSpec
from denseclip.clip.towers import ImageTower
from denseclip.models.clip_weights import Pretrained, clip_state
from denseclip.models.pretrained_module import PretrainedModule
from denseclip.weights import load_into
from denseclip.weights.convert import convert

if TYPE_CHECKING:
    from typing_extensions import Self

Embedding: TypeAlias = tuple[Tensor, Tensor]
"""Pooled embedding (N, E) and dense embedding (N, E, h, w)."""

# What a tower needs for embeddings only; pure feature backbones leave it out.
_EMBEDDING_PARTS = ('attnpool.', 'ln_post.', 'proj', 'head.', 'trunk.head.')


class ImageBackbone(PretrainedModule):
    """Base of the suite's backbones.

    The output is the tuple of stage features and, for backbones with pixel embeddings, a last element
    ``(pooled, dense)`` in the space of the text tower.

    Args:
        pretrained: where :meth:`init_weights` finds weights; None keeps those that the modules were built with.

    Attributes:
        preprocess: Normalisation that the weights expect, or None when unknown. Models compare it with their data
            preprocessor.
        out_channels: Channels of the stages, or None when unknown.
    """

    preprocess: PreprocessSpec | None = None
    out_channels: Sequence[int] | None = None


class CLIPBackbone(ImageBackbone):
    """Base of backbones around one of ``denseclip.clip.towers``.

    Args:
        tower: the image tower.
        pretrained: see ``denseclip.models.clip_weights``.
        model: open_clip architecture that a tag in ``pretrained`` refers to.
    """

    tower: Any  # an ImageTower, whose open_clip module has attributes of its own
    sourced_prefixes = ('tower.',)

    def __init__(self, tower: ImageTower, pretrained: Pretrained | None, model: str) -> None:
        super().__init__(pretrained)
        self.tower = tower
        self.model = model
        self.preprocess = tower.preprocess
        self.out_channels = list(tower.stage_channels)

    def position_grid(self) -> tuple[int, int] | None:
        """Height and width of the tower's grid of learned positions, or None if it has none."""
        raise NotImplementedError

    def load_pretrained(self, pretrained: Pretrained) -> None:
        """Load the image half of a CLIP model; positions are resized to the tower's grid.

        Weights of parts that this backbone leaves out (attention pool, projection) are dropped.
        """
        state = convert(clip_state(pretrained, self.model), 'openai_clip', part='visual', grid=self.position_grid())
        own = self.tower.visual.state_dict()
        unused = [k for k in state if k.startswith(_EMBEDDING_PARTS) and k not in own]
        load_into(self.tower.visual, state, source=str(pretrained), ignore=unused)

    def embeddings(self, pooled: Tensor | None, dense: Tensor | None) -> tuple[Embedding, ...]:
        """The last output element, or nothing for backbones without pixel embeddings."""
        return () if pooled is None or dense is None else ((pooled, dense),)


class FreezesStages(nn.Module):
    """Mix-in of convolutional backbones whose first stages, or statistics, stay as they are.

    Attributes:
        norm_eval: Keep all BatchNorm layers in evaluation mode while training.
    """

    norm_eval: bool

    def _freeze_stages(self) -> None:
        raise NotImplementedError

    def train(self, mode: bool = True) -> Self:
        """Set the mode; frozen stages, and with ``norm_eval`` all BatchNorm layers, stay in evaluation mode."""
        super().train(mode)
        if mode:
            self._freeze_stages()
            if self.norm_eval:
                batch_norms_to_eval(self)
        return self


def freeze(*modules: nn.Module) -> None:
    """Stop gradients into the modules' parameters and put them into evaluation mode."""
    for module in modules:
        module.eval()
        module.requires_grad_(False)


def batch_norms_to_eval(module: nn.Module) -> None:
    """Let every BatchNorm of a module use its running statistics."""
    for child in module.modules():
        if isinstance(child, _BatchNorm):
            child.eval()
