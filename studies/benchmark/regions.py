"""Benchmark of OVSeg's second stage: cutting masks out, embedding them, and merging classified masks to labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from denseclip.core.placement import Placement
from denseclip.engine.benchmark.machine import describe, set_up
from denseclip.engine.benchmark.memory import peak_memory
from denseclip.engine.benchmark.report import Report
from denseclip.engine.benchmark.timing import Samples, in_turn
from denseclip.engine.benchmark.variants import FAST, PLAIN
from denseclip.models.functional.mask_inference import semantic_labels
from denseclip.models.functional.region_crops import RegionCrops
from denseclip.models.open_clip_parts import OpenCLIPParts
from denseclip.models.region_classifier import RegionClassifier

_MEBI = 2**20
PUBLISHED = 'one by one, as published'
LEAN = 'one by one, resized once'
TOLERANCE = 1e-5
"""Largest difference of embeddings between the versions."""


@dataclass(frozen=True)
class RegionOptions:
    """A picture, its masks and the CLIP that looks at them. Weights are random: time does not depend on them.

    Attributes:
        model: open_clip architecture of the image tower.
        masks: Number of masks.
        encoded: How many of them are embedded; the rest is only cut out.
        classes: Number of classes of the merge.
        size: Height and width of the picture.
        batch_size: Pictures of masks per pass.
        device: Where it runs.
        threads: CPU threads; None leaves PyTorch's choice.
    """

    model: str = 'ViT-B-32'
    masks: int = 100
    encoded: int = 32
    classes: int = 847
    size: tuple[int, int] = (640, 854)
    batch_size: int = 32
    device: str = 'cpu'
    threads: int | None = None


def benchmark_regions(options: RegionOptions, *, repeats: int = 5, warmup: int = 1, memory: bool = True) -> Report:
    """Measure the three parts of the second stage, each against the plain version in turn.

    Args:
        options: What is worked on.
        repeats: Rounds that count.
        warmup: Rounds that do not.
        memory: Measure the peak memory of the merge (starts one process per version on the CPU).
    """
    image, masks = picture_and_masks(options)
    classifier = build_classifier(options)
    title = (
        f'Regions: {options.masks} masks of {options.size[0]}x{options.size[1]}, {options.model}, K={options.classes}'
    )
    report = Report(title, f'{describe(options.device)}, float32')
    rounds: dict[str, Any] = {'repeats': repeats, 'warmup': warmup, 'device': options.device}
    report.equal = _cutting(report, classifier, image, masks, rounds)
    report.equal &= _encoding(report, classifier, classifier.crops(image, masks[: options.encoded]), rounds)
    report.equal &= _merging(report, options, rounds, memory)
    return report


def picture_and_masks(options: RegionOptions) -> tuple[Tensor, Tensor]:
    """A picture (3, H, W) and soft ellipses of many sizes (Q, H, W), some of them cut by the border."""
    set_up(options.device, options.threads)
    generator = torch.Generator().manual_seed(0)
    height, width = options.size
    image = torch.rand(3, height, width, generator=generator) * 255
    centre = torch.rand(options.masks, 2, 1, 1, generator=generator) * torch.tensor(options.size)[:, None, None]
    radius = (0.03 + 0.47 * torch.rand(options.masks, 2, 1, 1, generator=generator) ** 2) * min(options.size)
    rows, columns = torch.arange(height)[:, None], torch.arange(width)[None]
    far = ((rows - centre[:, 0]) / radius[:, 0]) ** 2 + ((columns - centre[:, 1]) / radius[:, 1]) ** 2
    return image.to(options.device), far.neg_().add_(1).mul_(5).sigmoid_().to(options.device)


def build_classifier(options: RegionOptions) -> RegionClassifier:
    """The second stage with random weights and mask prompts of depth 3."""
    torch.manual_seed(0)
    clip = OpenCLIPParts(options.model)
    depth = 3 if hasattr(clip.clip.model.visual, 'transformer') else 0
    return RegionClassifier(clip, prompt_depth=depth, batch_size=options.batch_size).to(options.device).eval()


def crops_one_by_one(classifier: RegionClassifier, image: Tensor, masks: Tensor, again: bool) -> tuple[Tensor, Tensor]:
    """The plain way: box, crop, background and resizing of one mask after the other.

    Args:
        classifier: Gives the settings.
        image: Picture (3, H, W).
        masks: Shares (Q, H, W).
        again: Resize the picture a second time, not normalised, as the published code does.
    """
    mean, std, fill = (image.new_tensor(v)[:, None, None] for v in (classifier.mean, classifier.std, classifier.fill))
    pictures, frames, raw = [], [], []
    for share in masks:
        inside = share > classifier.threshold
        if not inside.any():
            continue
        ys, xs = inside.any(dim=1).nonzero()[:, 0], inside.any(dim=0).nonzero()[:, 0]
        box = (slice(int(ys[0]), int(ys[-1]) + 1), slice(int(xs[0]), int(xs[-1]) + 1))
        mask = inside[box].to(image.dtype)
        crop = image[:, box[0], box[1]] * mask + (1 - mask) * fill
        pictures.append(F.interpolate(((crop - mean) / std)[None], size=classifier.size, mode='bicubic'))
        frames.append(F.interpolate(mask[None, None], size=classifier.size, mode='nearest'))
        if again:
            raw.append(F.interpolate(crop[None], size=classifier.size, mode='bicubic'))
    if again:
        torch.cat(raw)
    return torch.cat(pictures), torch.cat(frames)[:, 0] > 0


def _cutting(report: Report, classifier: RegionClassifier, image: Tensor, masks: Tensor, rounds: Any) -> bool:
    cases: dict[str, Callable[[], Any]] = {
        FAST: lambda: classifier.crops(image, masks),
        PUBLISHED: lambda: crops_one_by_one(classifier, image, masks, again=True),
        LEAN: lambda: crops_one_by_one(classifier, image, masks, again=False),
    }
    ours, (pictures, frames) = cases[FAST](), cases[LEAN]()
    samples = in_turn(cases, label='cutting out', **rounds)
    _add_times(report, f'Cutting out {len(masks)} masks', samples)
    same = torch.allclose(ours.pictures, pictures, atol=TOLERANCE, rtol=TOLERANCE)
    return same and torch.equal(ours.masks, frames)


@torch.no_grad()
def _encoding(report: Report, classifier: RegionClassifier, crops: RegionCrops, rounds: Any) -> bool:
    found: dict[str, Tensor] = {}

    def run(name: str, size: int) -> Callable[[], None]:
        def work() -> None:
            classifier.batch_size = size
            with torch.no_grad():
                found[name] = classifier.encode(crops.pictures, crops.masks)

        return work

    cases = {FAST: run(FAST, classifier.batch_size), PLAIN: run(PLAIN, 1)}
    samples = in_turn(cases, label='embedding', **rounds)
    _add_times(report, f'Embedding {len(crops.pictures)} masks', samples)
    return bool((found[FAST] - found[PLAIN]).abs().max() <= TOLERANCE)


def _merging(report: Report, options: RegionOptions, rounds: Any, memory: bool) -> bool:
    cases = {name: prepare_merge(options, name) for name in (FAST, PLAIN)}
    same = bool((cases[FAST]().long() == cases[PLAIN]()).float().mean() > 0.9999)  # sums of another order may tie
    samples = in_turn(cases, label='merging', **{**rounds, 'repeats': 1, 'warmup': 0})
    peaks = {n: peak_memory(prepare_merge, options, n, device=options.device) for n in cases} if memory else {}
    title = f'Merging {options.masks} masks into K={options.classes} classes'
    table = report.table(title, 'version', 'median, ms', 'extra memory, MiB')
    for name, sample in samples.items():
        table.add(name, sample.median * 1e3, peaks[name].extra / _MEBI if memory else None)
    saved = peaks[FAST].extra / max(peaks[PLAIN].extra, 1) if memory else None
    table.add('ours / plain', samples[FAST].median / samples[PLAIN].median, saved)
    return same


def prepare_merge(options: RegionOptions, name: str) -> Callable[[], Tensor]:
    """Make masks and class scores, and return the merge to the picture's size: ours, or one product and argmax."""
    _, masks = picture_and_masks(options)
    generator = torch.Generator().manual_seed(1)
    scores = torch.randn(options.masks, options.classes, generator=generator).mul(3).softmax(dim=1).to(options.device)
    if name == FAST:
        return lambda: semantic_labels(scores, masks, Placement(out=options.size), are_logits=False)
    return lambda: torch.einsum('qk,qhw->khw', scores, masks).argmax(dim=0)


def _add_times(report: Report, title: str, samples: dict[str, Samples]) -> None:
    """A table of times, and how many times as fast the first version is."""
    table = report.table(title, 'version', 'median, ms', 'fastest, ms', 'ours is faster by')
    ours = samples[FAST]
    for name, sample in samples.items():
        faster = None if name == FAST else sample.median / ours.median
        table.add(name, sample.median * 1e3, sample.fastest * 1e3, faster)
