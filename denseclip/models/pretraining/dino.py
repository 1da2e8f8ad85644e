"""DINO from scratch: a vision transformer that learns from pictures alone."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import timm
import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from torch import Tensor, nn

from ..functional.random_views import random_colours, random_crops
from ..functional.self_distillation import balanced_target, centred_target, dino_loss


class DINOHead(nn.Module):
    """Projection of DINO: a small perceptron, unit length, and scores against unit-length prototypes.

    Args:
        in_channels: Size of the trunk's embedding.
        hidden: Size of both hidden layers.
        bottleneck: Size of the normalised embedding.
        prototypes: Number of scores.
    """

    def __init__(self, in_channels: int, hidden: int = 512, bottleneck: int = 64, prototypes: int = 1024) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(in_channels, hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Linear(hidden, bottleneck),
        )
        self.prototypes = nn.Parameter(torch.empty(prototypes, bottleneck))
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)
        nn.init.normal_(self.prototypes)

    def forward(self, x: Tensor) -> Tensor:
        """Cosines (N, K) of embeddings (N, C) with the prototypes."""
        return F.linear(F.normalize(self.mlp(x), dim=-1), F.normalize(self.prototypes, dim=-1))


class _Network(nn.Module):
    """Trunk and head."""

    def __init__(self, trunk: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.trunk(images))


@MODELS.register_module()
class DINOPretraining(BaseModel):
    """Student and teacher of DINO; the teacher's trunk is what is kept.

    The teacher follows the student at the start of every step but the first, which is the same as at the end of the
    step before, and works alike with and without DistributedDataParallel.

    Args:
        trunk: timm's name of a vision transformer.
        trunk_args: Further arguments of it (``img_size``, ``patch_size``, ``embed_dim`` ...).
        max_iters: Length of the training; the teacher's momentum rises to 1 until then.
        head: Arguments of :class:`DINOHead`.
        large: Side of the two large views, in pixels.
        small: Side of the small views.
        num_small: Number of small views.
        large_scale: Range of the area of large views.
        small_scale: Range of the area of small views.
        student_temperature: Of the student's softmax.
        teacher_temperature: Of the teacher's: at the start, and from ``warmup_iters`` on.
        warmup_iters: Iterations in which the teacher's temperature rises.
        momentum: Of the teacher at the start.
        centre_momentum: Of the running mean of the teacher's scores.
        centring: ``'mean'``: the running mean is taken off the teacher's scores, as in the paper. ``'sinkhorn'``: every
            batch uses all prototypes equally, as in DINOv2; it learns from the first steps on, also in small batches.
        data_preprocessor: Of MMEngine.
        init_cfg: Of MMEngine.

    Source: Caron et al., "Emerging Properties in Self-Supervised Vision Transformers", ICCV 2021, section 3 and
    appendix A. Left out: batch norm, blur and solarisation of views, and the freeze of the last layer in the first
    epoch (prototypes have unit length instead).
    """

    def __init__(
        self,
        trunk: str = 'vit_tiny_patch16_224',
        trunk_args: Mapping[str, Any] | None = None,
        max_iters: int = 1000,
        head: Mapping[str, Any] | None = None,
        large: int = 64,
        small: int = 32,
        num_small: int = 4,
        large_scale: tuple[float, float] = (0.4, 1.0),
        small_scale: tuple[float, float] = (0.1, 0.4),
        student_temperature: float = 0.1,
        teacher_temperature: tuple[float, float] = (0.04, 0.06),
        warmup_iters: int = 300,
        momentum: float = 0.992,
        centre_momentum: float = 0.9,
        centring: str = 'mean',
        data_preprocessor: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        if centring not in ('mean', 'sinkhorn'):
            raise ValueError(f"centring='{centring}' is unknown; choose 'mean' or 'sinkhorn'")
        self.centring = centring
        self.trunk, self.trunk_args = trunk, dict(trunk_args or {})
        vit: Any = timm.create_model(trunk, pretrained=False, num_classes=0, dynamic_img_size=True, **self.trunk_args)
        projection = DINOHead(vit.num_features, **dict(head or {}))
        self.student = _Network(vit, projection)
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
        self.max_iters, self.warmup_iters = max_iters, warmup_iters
        self.large, self.small, self.num_small = large, small, num_small
        self.large_scale, self.small_scale = large_scale, small_scale
        self.student_temperature, self.teacher_temperature = student_temperature, teacher_temperature
        self.momentum, self.centre_momentum = momentum, centre_momentum
        self.centre: Tensor
        self.step: Tensor
        self.register_buffer('centre', torch.zeros(len(projection.prototypes)))
        self.register_buffer('step', torch.zeros((), dtype=torch.long))
        self._done = 0  # the same on the host, so that no step waits for a device; read anew after loading

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = 'tensor') -> Any:
        """Run the model.

        Args:
            inputs: Normalised pictures (N, 3, H, W).
            data_samples: Not used.
            mode: ``'loss'``, or ``'tensor'`` for the teacher's embeddings (N, C).

        Raises:
            ValueError: Another mode.
        """
        if mode == 'tensor':
            return self.teacher.trunk(inputs)
        if mode != 'loss':
            raise ValueError(f"mode='{mode}': DINO predicts nothing; use 'loss' or 'tensor'")
        progress = min(self._count_step() / self.max_iters, 1.0)
        large = [random_colours(random_crops(inputs, self.large, self.large_scale)) for _ in range(2)]
        small = [random_colours(random_crops(inputs, self.small, self.small_scale)) for _ in range(self.num_small)]
        with torch.no_grad():
            said = self.teacher(torch.cat(large)).unflatten(0, (2, -1))
        sets = [self.student(torch.cat(views)).unflatten(0, (len(views), -1)) for views in (large, small) if views]
        loss = dino_loss(torch.cat(sets), self._target(said, progress), self.student_temperature)
        return {'loss': loss, 'spread': said.std(dim=1).mean()}

    @torch.no_grad()
    def _target(self, said: Tensor, progress: float) -> Tensor:
        """What the student shall say: the teacher's scores, made sharp and kept from always being the same."""
        start, end = self.teacher_temperature
        temperature = start + (end - start) * min(progress * self.max_iters / max(self.warmup_iters, 1), 1.0)
        if self.centring == 'sinkhorn':
            return balanced_target(said, temperature)
        target = centred_target(said, self.centre, temperature)
        mean = said.mean(dim=(0, 1))
        all_reduce(mean, 'mean')
        self.centre.lerp_(mean, 1 - self.centre_momentum)
        return target

    def _count_step(self) -> int:
        """Let the teacher follow, and give the number of steps before this one."""
        if self._done == 0 and self.step.device.type != 'meta':
            self._done = int(self.step)
        before = self._done
        if before > 0:
            keep = 1 - (1 - self.momentum) * (math.cos(math.pi * min(before / self.max_iters, 1.0)) + 1) / 2
            self.follow(keep)
        self._done = before + 1
        self.step += 1
        return before

    @torch.no_grad()
    def follow(self, keep: float) -> None:
        """Move the teacher towards the student, leaving it ``keep`` of itself."""
        teachers: list[Tensor] = list(self.teacher.parameters())
        students: list[Tensor] = list(self.student.parameters())
        torch._foreach_lerp_(teachers, students, 1 - keep)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._done = 0
