"""MAFT+'s training step and its mask-aware loss against the order and the form of the authors' code."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from mmengine.structures import InstanceData
from mmseg.structures import SegDataSample
from torch import Tensor

from denseclip.clip.vocabulary import Vocabulary
from denseclip.engine.benchmark.memory import PeakMemory, peak_memory
from denseclip.engine.benchmark.timing import in_turn
from denseclip.engine.config import OptionError
from denseclip.models.functional.maft_losses import mask_aware_loss, mask_quality
from denseclip.models.segmentors import MAFTPlus, maft

from .train_step import StepComparison

PARTS = {
    'second pass': 'the trunk runs once for the masks and again, with its graph, for the losses of CLIP',
    'broadcast loss': 'all masks at full size, times every segment, for the mask-aware loss',
}
"""What the authors' step does beside ours."""


def compare_maft_steps(
    model: Any,
    *,
    size: int = 320,
    batch: int = 1,
    segments: int = 20,
    repeats: int = 3,
    parts: Sequence[str] = tuple(PARTS),
) -> StepComparison:
    """Time forward and backward of MAFT+ in both orders, in turn.

    Args:
        model: A :class:`MAFTPlus`; it is trained, but no parameter is changed.
        size: Side of the pictures, in pixels.
        batch: Pictures per step.
        segments: Segments per picture.
        repeats: Rounds that count.
        parts: Which of :data:`PARTS` the reference does.

    Raises:
        OptionError: If the model is another one.
    """
    if not isinstance(model, MAFTPlus):
        raise OptionError(f'{type(model).__name__} is no MAFTPlus')
    device = next(model.parameters()).device
    generator = torch.Generator('cpu').manual_seed(0)
    inputs = torch.randn(batch, 3, size, size, generator=generator).to(device)
    samples = [_sample(size, segments, len(model.vocabulary), generator, device) for _ in range(batch)]
    model.train()
    losses: dict[str, float] = {}

    def step(name: str) -> None:
        torch.manual_seed(0)  # the same points in both orders
        total = model.parse_losses(model.loss(inputs, samples))[0]
        total.backward()
        losses[name] = float(total.detach())
        model.zero_grad(set_to_none=True)

    def reference() -> None:
        with authors_order(model, parts):
            step('reference')

    times = in_turn({'ours': lambda: step('ours'), 'reference': reference}, repeats=repeats, device=device)
    return StepComparison(times, losses)


def use_random_text(model: Any, vocabulary: Any) -> None:
    """Random text rows for a vocabulary: encoding it takes long, happens once, and is no part of a step."""
    words = Vocabulary.of(vocabulary)
    rows = torch.randn(len(words.prompts), model.backbone.embed_dim, generator=torch.Generator('cpu').manual_seed(0))
    model.set_class_embeddings(rows, words)


@contextmanager
def authors_order(model: Any, parts: Sequence[str] = tuple(PARTS)) -> Iterator[None]:
    """Let MAFT+ work as the authors' code does, for the length of a block; see :data:`PARTS`."""
    unknown = set(parts) - set(PARTS)
    if unknown:
        raise OptionError(f'unknown parts of the reference: {", ".join(sorted(unknown))}; known: {", ".join(PARTS)}')
    with ExitStack() as stack:
        if 'second pass' in parts:
            stack.enter_context(patch.object(model.backbone, 'forward', _twice(model.backbone.forward)))
        if 'broadcast loss' in parts:
            stack.enter_context(patch.object(maft, 'mask_aware_loss', broadcast_mask_aware_loss))
        yield


def _twice(forward: Callable[[Tensor], Any]) -> Callable[[Tensor], Any]:
    def run(images: Tensor) -> Any:
        first = forward(images)  # its graph lives until the second pass is over
        second = forward(images)
        del first
        return second

    return run


def broadcast_mask_aware_loss(
    class_logits: Tensor, mask_logits: Tensor, labels: Sequence[Tensor], masks: Sequence[Tensor]
) -> Tensor:
    """:func:`mask_aware_loss` in the authors' form: every pair of mask and segment at full size.

    Args:
        class_logits: See there.
        mask_logits: See there.
        labels: See there.
        masks: See there.
    """
    targets = torch.cat(list(masks)).float()
    owner = torch.cat([torch.full_like(label, n) for n, label in enumerate(labels)])
    with torch.no_grad():
        full = F.interpolate(mask_logits.sigmoid(), size=targets.shape[-2:], mode='bilinear', align_corners=False)
        pairs, segments = full[owner], targets[:, None]
        both = (pairs * segments).flatten(2).sum(-1)
        union = pairs.flatten(2).sum(-1) + segments.flatten(2).sum(-1) - both
        quality = mask_quality(both / (union + 1e-7))
    given = class_logits.softmax(dim=-1)[owner, :, torch.cat(list(labels))]
    return F.smooth_l1_loss(given, quality)


def loss_inputs(segments: int, queries: int, size: int, classes: int = 171) -> tuple[Any, ...]:
    """Random arguments of the loss for one picture: masks at a quarter of ``size``, segments at ``size``."""
    generator = torch.Generator('cpu').manual_seed(0)
    logits = torch.randn(1, queries, classes, generator=generator)
    masks = torch.randn(1, queries, size // 4, size // 4, generator=generator) * 3
    labels = [torch.randint(0, classes, (segments,), generator=generator)]
    return logits, masks, labels, [random_segments(segments, size, generator)]


def random_segments(count: int, size: int, generator: torch.Generator) -> Tensor:
    """Random ellipses, bool (count, size, size)."""
    centre, radius = (
        torch.rand(count, 2, 1, generator=generator),
        0.1 + 0.3 * torch.rand(count, 2, 1, generator=generator),
    )
    line = (torch.linspace(0, 1, size, device='cpu') - centre) / radius
    return (line[:, 0, :, None] ** 2 + line[:, 1, None] ** 2) < 1


def _loss_work(form: str, segments: int, queries: int, size: int) -> Callable[[], Any]:
    loss = {'matrix': mask_aware_loss, 'broadcast': broadcast_mask_aware_loss}[form]
    inputs = loss_inputs(segments, queries, size)
    loss(*loss_inputs(1, 1, 8))  # what a first call sets up is no part of the measurement
    return lambda: loss(*inputs)


def loss_memory(form: str, segments: int = 20, queries: int = 100, size: int = 256, device: str = 'cpu') -> PeakMemory:
    """Peak memory of the mask-aware loss.

    Args:
        form: ``'matrix'`` (ours) or ``'broadcast'`` (the authors').
        segments: Segments in the picture.
        queries: Masks.
        size: Side of the picture, in pixels.
        device: Where the work runs.
    """
    return peak_memory(_loss_work, form, segments, queries, size, device=device)


def loss_difference(segments: int = 20, queries: int = 100, size: int = 256) -> float:
    """Difference of both forms' losses."""
    inputs = loss_inputs(segments, queries, size)
    return abs(float(mask_aware_loss(*inputs)) - float(broadcast_mask_aware_loss(*inputs)))


def _sample(size: int, segments: int, classes: int, generator: torch.Generator, device: torch.device) -> SegDataSample:
    truth = InstanceData(
        labels=torch.randint(0, classes, (segments,), generator=generator),
        masks=random_segments(segments, size, generator),
    )
    sample = SegDataSample(gt_instances=truth.to(device))
    sample.set_metainfo(dict(img_shape=(size, size), ori_shape=(size, size)))
    return sample
