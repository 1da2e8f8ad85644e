"""SPAR: a tower that says in one pass, at any size, what fine sliding windows say (Kombol et al., CVPR 2026)."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor, nn

from denseclip.clip.errors import NoReadOutError
from denseclip.core.placement import Size
from denseclip.models.functional.fine_windows import fine_window_features
from denseclip.models.functional.pictures import denormalize_pictures
from denseclip.models.teachers.feature_store import FeatureStore
from denseclip.models.unsaved import leave_out_of_checkpoints

from .open_vocab import OpenVocabularySegmentor


@MODELS.register_module()
class SPAR(OpenVocabularySegmentor):
    """Dense CLIP whose last blocks learn to see a whole picture as the same CLIP sees it through fine windows.

    Trains on pictures alone. The teacher is the tower as it was, with the same read-out, in windows of the size that it
    was trained at; windows overlap much, and the mean of what they say of a patch is regressed by mean squared error,
    as features leave the projection, not normalised. Text, positions, projection and the first blocks stay as they are.

    Checkpoints hold the trained CLIP without the teacher, unless CLIP has no source to come from; what
    ``tools/export_pretrained.py`` makes of one is a CLIP folder for every preset. In use this is an
    :class:`OpenVocabularySegmentor`, in one pass unless ``test_cfg`` says otherwise.

    Args:
        clip: See :class:`OpenVocabularySegmentor`. Read-outs that look at more than CLIP (affinity, joined windows) are
            refused.
        train_blocks: How many last blocks of the image tower learn.
        window: Side of the teacher's windows, or height and width, in pixels; None: what the weights were trained at.
        stride: Their step, likewise.
        window_batch: Windows that the teacher sees at once.
        feature_cache: Folder that keeps what the teacher says of a picture, so that later epochs do not ask it again;
            pictures must be the same pixel by pixel (``DrawnOnce`` in the pipeline). None: it is asked every time.
        kwargs: Further arguments of :class:`OpenVocabularySegmentor`.

    Attributes:
        teacher: The tower as it was.

    Raises:
        NoReadOutError: The image tower is no transformer.
        ValueError: See above.
    """

    sourced_is_frozen = False
    weights_named_by = ()  # the last blocks are trained

    def __init__(
        self,
        clip: Mapping[str, Any] | Any,
        *args: Any,
        train_blocks: int = 2,
        window: int | Sequence[int] | None = None,
        stride: int | Sequence[int] = 24,
        window_batch: int = 16,
        feature_cache: str | Path | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(clip, *args, **kwargs)
        if self._guided or self.join is not None:
            raise ValueError('SPAR trains what CLIP alone sees: take a preset without affinity= and join=.')
        self.window = self.tower.preprocess.size if window is None else _pair(window)
        self.stride, self.window_batch = _pair(stride), window_batch
        self._let_learn(train_blocks)
        before = copy.deepcopy(self.parts)
        read_out = replace(self.tower.read_out, pooled=False, keys=None)
        self.teacher = before.clip.image_tower(read_out).eval().requires_grad_(False)
        self._unread = [before] if before.has_source and not before.has_weights else []
        self._feature_cache = feature_cache
        self._store: list[FeatureStore] = []
        leave_out_of_checkpoints(self)

    def _let_learn(self, count: int) -> None:
        """Gradients for the last blocks, but for what the read-out leaves out of them."""
        blocks = last_blocks(self.tower.visual, count)
        for block in blocks:
            block.requires_grad_(True)
        read_out = self.tower.read_out
        for block in blocks[-read_out.layers :] if not read_out.ffn else ():
            for name in ('mlp', 'ln_2', 'ls_2', 'norm2', 'ls2'):
                getattr(block, name, nn.Identity()).requires_grad_(False)

    @property
    def not_saved_prefixes(self) -> tuple[str, ...]:
        """The teacher is left out of checkpoints where it has a source of its own."""
        return ('teacher.',) if self.has_source else ()

    def train(self, mode: bool = True) -> SPAR:
        """Set the mode; towers and teacher stay in evaluation mode, as the authors' do."""
        super().train(mode)
        self.teacher.eval()
        return self

    # --- training -----------------------------------------------------------------------------------------------

    def teacher_features(self, pictures: Tensor) -> Tensor:
        """What the teacher's windows say of each patch, without gradient, (N, E, h, w).

        Args:
            pictures: Normalised, padded to whole patches, (N, 3, H, W).
        """
        while self._unread:
            self._unread[0].load()
            self._unread.pop()
        if self._feature_cache is None:
            return self._look(pictures)
        if not self._store:
            settings = {'window': self.window, 'stride': self.stride, 'read_out': asdict(self.teacher.read_out)}
            self._store.append(FeatureStore(self._feature_cache, self.teacher, settings))
        pixels = denormalize_pictures(pictures, self.tower.preprocess).mul(255).round().clamp(0, 255).byte()
        pairs = zip(pixels, pictures, strict=True)
        return torch.stack([self._store[0](image, partial(self._look_at, one)) for image, one in pairs])

    def _look_at(self, picture: Tensor) -> Tensor:
        return self._look(picture[None])[0]

    @torch.no_grad()
    def _look(self, pictures: Tensor) -> Tensor:
        patch = self.teacher.multiple
        return fine_window_features(self._read_window, pictures, patch, self.window, self.stride, self.window_batch)

    def _read_window(self, crops: Tensor) -> Tensor:
        dense = self.teacher(crops).dense
        assert dense is not None
        return dense

    def loss(self, inputs: Tensor, data_samples: list | None = None) -> dict[str, Tensor]:
        """``loss_features``: mean squared error between one pass and the teacher's windows.

        Args:
            inputs: Preprocessed pictures (N, 3, H, W).
            data_samples: Not used: no labels are needed.
        """
        del data_samples
        pictures = self.pad(inputs)
        dense = self.dense_features(pictures)
        kind = torch.promote_types(dense.dtype, torch.float32)
        return {'loss_features': F.mse_loss(dense.to(kind), self.teacher_features(pictures).to(kind))}


def last_blocks(visual: nn.Module, count: int) -> list[nn.Module]:
    """The last blocks of open_clip's image transformer, its own or timm's.

    Raises:
        NoReadOutError: It is none.
        ValueError: It has fewer.
    """
    own, trunk = getattr(visual, 'transformer', None), getattr(visual, 'trunk', None)
    blocks: Any = getattr(own, 'resblocks', None) or getattr(trunk, 'blocks', None)
    if blocks is None:
        raise NoReadOutError(f'SPAR trains the last blocks of a transformer, and {type(visual).__name__} has none.')
    if not 0 < count <= len(blocks):
        raise ValueError(f'train_blocks={count}: this image tower has {len(blocks)} blocks.')
    return list(blocks[-count:])


def _pair(sides: int | Sequence[int]) -> Size:
    """Height and width."""
    return (sides, sides) if isinstance(sides, int) else (int(sides[0]), int(sides[1]))
