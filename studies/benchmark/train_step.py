"""A detector's training step against the same step in the order of DenseCLIP's authors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from mmdet.structures import DetDataSample
from torch import Tensor, nn

from denseclip.engine.benchmark.patching import wrapped
from denseclip.engine.benchmark.tasks import random_objects
from denseclip.engine.benchmark.timing import Samples, in_turn
from denseclip.engine.config import OptionError

PARTS = {
    'trainable text': 'gradients for the text encoder, whose learning rate is 0',
    'box by box': 'target of the auxiliary loss painted on the CPU, one box after the other',
    'anomaly mode': "autograd's anomaly detection left on, as in their segmentation tool",
}
"""What the authors' step does beside ours."""


@dataclass(frozen=True)
class StepComparison:
    """Times and losses of both orders.

    Attributes:
        samples: Times of ``'ours'`` and ``'reference'``.
        losses: Their total losses.
    """

    samples: dict[str, Samples]
    losses: dict[str, float]

    @property
    def ratio(self) -> float:
        """Median time of ours divided by the reference's."""
        return self.samples['ours'].median / self.samples['reference'].median

    @property
    def difference(self) -> float:
        """Difference of the losses, relative to the reference's."""
        return abs(self.losses['ours'] - self.losses['reference']) / max(abs(self.losses['reference']), 1e-12)


def compare_steps(
    model: Any,
    *,
    size: int = 512,
    batch: int = 2,
    boxes: int = 8,
    repeats: int = 3,
    parts: Sequence[str] = tuple(PARTS),
) -> StepComparison:
    """Time forward and backward of a DenseCLIP detector in both orders, in turn.

    Args:
        model: A detector of this suite; it is trained, but no parameter is changed.
        size: Side of the pictures, in pixels.
        batch: Pictures per step.
        boxes: Objects per picture.
        repeats: Rounds that count.
        parts: Which of :data:`PARTS` the reference does.

    Raises:
        OptionError: If the model is no such detector.
    """
    if getattr(model, 'pixel_text_loss', None) is None:
        raise OptionError(f'{type(model).__name__} is no DenseCLIP detector with an auxiliary loss')
    device = next(model.parameters()).device
    generator = torch.Generator('cpu').manual_seed(0)
    inputs = torch.randn(batch, 3, size, size, generator=generator).to(device)
    samples = [_sample(size, boxes, len(model.vocabulary), generator, device) for _ in range(batch)]
    model.train()
    losses: dict[str, float] = {}

    def step(name: str) -> None:
        torch.manual_seed(0)  # the same dropout and the same sampled anchors in both orders
        total = model.parse_losses(model.loss(inputs, samples))[0]
        total.backward()
        losses[name] = float(total.detach())
        model.zero_grad(set_to_none=True)

    def reference() -> None:
        with reference_order(model, parts):
            step('reference')

    times = in_turn({'ours': lambda: step('ours'), 'reference': reference}, repeats=repeats, device=device)
    return StepComparison(times, losses)


@contextmanager
def reference_order(model: Any, parts: Sequence[str] = tuple(PARTS)) -> Iterator[None]:
    """Let a detector work as the authors' code does, for the length of a block; see :data:`PARTS`."""
    unknown = set(parts) - set(PARTS)
    if unknown:
        raise OptionError(f'unknown parts of the reference: {", ".join(sorted(unknown))}; known: {", ".join(PARTS)}')
    with ExitStack() as stack:
        if 'trainable text' in parts:
            stack.enter_context(_trainable(model.text_encoder))
        if 'box by box' in parts:
            stack.enter_context(wrapped(model.pixel_text_loss, 'target', _box_by_box))
        if 'anomaly mode' in parts:
            stack.enter_context(torch.autograd.set_detect_anomaly(True))
        yield


@contextmanager
def _trainable(module: nn.Module) -> Iterator[None]:
    frozen = [p for p in module.parameters() if not p.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(True)
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)


def _box_by_box(target: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The same target as the wrapped method's, made as the authors make it."""
    stride = target.__self__.stride  # type: ignore[attr-defined]

    def painted(boxes: Sequence[Tensor], labels: Sequence[Tensor], num_classes: int, size: Sequence[int]) -> Tensor:
        height, width = size[0] // stride, size[1] // stride
        cells = torch.zeros((len(boxes), num_classes, height, width), dtype=torch.bool, device='cpu')
        for image, (corners, classes) in enumerate(zip(boxes, labels, strict=True)):
            limits = torch.tensor([width - 1, height - 1] * 2, device='cpu')
            places = (corners.cpu() / stride).long().clamp_min(0).minimum(limits)
            for (x1, y1, x2, y2), label in zip(places, classes.cpu(), strict=True):
                cells[image, label, y1:y2, x1:x2] = True
        return cells.to(boxes[0].device)

    return painted


def _sample(size: int, boxes: int, classes: int, generator: torch.Generator, device: torch.device) -> DetDataSample:
    """A picture's ground truth."""
    shape = (size, size)
    truth, ignored = random_objects(shape, boxes, classes, generator)
    sample = DetDataSample(gt_instances=truth.to(device), ignored_instances=ignored.to(device))
    sample.set_metainfo(dict(img_shape=shape, pad_shape=shape, batch_input_shape=shape, ori_shape=shape, img_id=0))
    return sample
