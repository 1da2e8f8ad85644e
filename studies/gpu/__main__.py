"""Precision, layout and graphs on a GPU: every kind of model, and training steps, beside eager float32.

    python -m studies.gpu                                            # a GPU, at most 8 minutes
    python -m studies.gpu --device cpu --small --backend none        # the same on a CPU, small models, no graphs

Left out: SAM 3, whose config is a folder that must be fetched; presets that differ from those below in what the last
block looks at; those that need regions (CorrCLIP, Trident); and with `--small` those that read blocks which the small
CLIP does not have (ResCLIP, APRIL-GAN).

Weights are random, the same on both sides; pictures are noise. Sides run in turn, in one process. No figure of this
table is worth anything beside those of another machine; the ratios are. Several GPUs (NCCL) are not measured.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from denseclip.engine.benchmark.ceiling import MatrixProduct
from denseclip.engine.benchmark.flops import count_flops
from denseclip.engine.benchmark.machine import describe
from denseclip.engine.benchmark.timing import synchronize
from denseclip.engine.benchmark.workload import ModelOptions, Workload

FULL = {
    'DenseCLIP RN50': 'denseclip/denseclip_fpn_clip-r50_80k_ade20k-512x512',
    'DenseCLIP ViT-B/16': 'denseclip/denseclip_fpn_clip-vit-b16_80k_ade20k-640x640',
    'DenseCLIP Mask R-CNN': 'denseclip/denseclip_mask-rcnn_clip-r50_fpn_1x_coco-1333x800',
    'MaskCLIP ViT-B/16': 'maskclip/maskclip_vit-b16_zs_ade20k-448x448',
    'NACLIP ViT-B/16': 'maskclip/maskclip_vit-b16_zs_ade20k-448x448',
    'MaskCLIP+ R101': 'maskclip_plus/maskclip-plus_deeplabv2-r101_vit-b16_8k_cocostuff-512x512',
    'CLIP-DINOiser': 'dinoiser/dinoiser_vit-b16_6k_ade20k-448x448',
    'FC-CLIP ConvNeXt-L': 'fcclip/fcclip_convnext-l_369k_ade20k-1333x800',
    'MAFT+ ConvNeXt-B': 'maft/maft-plus_convnext-b_60k_ade20k-1333x800',
    'OVSeg Swin-B': 'ovseg/ovseg_swin-b_vit-l14_120k_ade20k-640x640',
    'AnoVL ViT-B/16+': 'anovl/anovl_vit-b16-plus_mvtec-240x240',
    'WinCLIP ViT-B/16+': 'anovl/winclip_vit-b16-plus_mvtec-240x240',
    'APRIL-GAN ViT-L/14': 'anovl/april-gan_vit-l14-336_mvtec-518x518',
    'DenseCLIP RetinaNet': 'denseclip/denseclip_retinanet_clip-r50_fpn_1x_coco-1333x800',
    'Mask-Adapter on MAFT+': 'maft/maft-plus-mask-adapter_convnext-b_49k_ade20k-896x896',
    'PMP on Mask2Former R50': 'pmp/pmp_mask2former_r50_20k_ade20k-512x512',
    'ResCLIP ViT-B/16': 'maskclip/maskclip_vit-b16_zs_ade20k-448x448',
}
FULL_STEPS = {name: FULL[name] for name in ('DenseCLIP RN50', 'FC-CLIP ConvNeXt-L', 'MAFT+ ConvNeXt-B', 'OVSeg Swin-B')}
SMALL = {
    'DenseCLIP': 'denseclip/denseclip_fpn_efficientnet-lite0_camvid-320x400',
    'DenseCLIP Mask R-CNN': 'denseclip/denseclip_mask-rcnn_efficientnet-lite0_fpn_miniworld-128x128',
    'DenseCLIP RetinaNet': 'denseclip/denseclip_retinanet_efficientnet-lite0_fpn_bccd-384x288',
    'MaskCLIP': 'miniworld/maskclip_vit-xs8_zs_miniworld-128x128',
    'NACLIP': 'miniworld/maskclip_vit-xs8_zs_miniworld-128x128',
    'PEARL': 'miniworld/maskclip_vit-xs8_zs_miniworld-128x128',
    'SC-CLIP': 'miniworld/scclip_vit-xs8_zs_miniworld-128x128',
    'SFP': 'miniworld/sfp_vit-xs8_zs_miniworld-128x128',
    'ProxyCLIP': 'miniworld/proxyclip_vit-xs8_zs_miniworld-128x128',
    'CASS': 'miniworld/cass_vit-xs8_zs_miniworld-128x128',
    'GLA-CLIP': 'miniworld/glaclip_vit-xs8_zs_miniworld-128x128',
    'CLIP-DINOiser': 'dinoiser/dinoiser_vit-xs8_1k_miniworld-64x64',
    'FC-CLIP': 'miniworld/fcclip_vit-xs8_miniworld-96x96',
    'MAFT+': 'miniworld/maft-plus_vit-xs8_miniworld-96x96',
    'PMP on FC-CLIP': 'miniworld/pmp-fcclip_vit-xs8_miniworld-96x96',
    'PMP on MAFT+': 'miniworld/pmp-maft-plus_vit-xs8_miniworld-96x96',
    'OVSeg': 'ovseg/ovseg_swin-xs_vit-xs8_1500_miniworld-96x96',
    'AnoVL': 'anovl/anovl_vit-xs8_miniworld-64x64',
    'AnoVL without adaptation': 'anovl/anovl-tfa_vit-xs8_miniworld-64x64',
}
SMALL_STEPS = {name: SMALL[name] for name in ('DenseCLIP', 'FC-CLIP', 'MAFT+', 'PMP on FC-CLIP', 'OVSeg')}
OVERRIDES = {
    'NACLIP': {'model.clip.preset': 'naclip'},
    'ResCLIP': {'model.clip.preset': 'resclip', 'model.type': 'ResCLIPSegmentor'},
    'PEARL': {'model.clip.preset': 'pearl'},
}
"""What models that share another one's config have in place of it, by the first word of their names."""
EAGER, LOW, GRAPHS = 'eager fp32', 'bf16, channels last', 'and graphs'


@dataclass(frozen=True)
class Row:
    """What was measured of one model.

    Attributes:
        name: Of the model.
        speed: Pictures per second of each side.
        equal: Share of numbers of the results (labels, or maps within 0.05) that the last side has like eager fp32; of
            a training step 1 minus the relative difference of the loss.
        achieved: Speed of the last side over that of the machine's matrix product in bfloat16.
    """

    name: str
    speed: dict[str, float]
    equal: float
    achieved: float

    def cells(self, sides: Sequence[str]) -> list[str]:
        """Of the table."""
        ratio = self.speed[sides[-1]] / self.speed[EAGER]
        speeds = [f'{self.speed[side]:.2f}' for side in sides]
        return [self.name, *speeds, f'{ratio:.2f}', f'{self.equal:.4f}', f'{self.achieved:.2f}']


def measure(name: str, options: ModelOptions, sides: Sequence[str], backend: str, repeats: int) -> Row:
    """Run the sides of one model in turn.

    Args:
        name: Of the model.
        options: Its config, device and size.
        sides: Which of :data:`EAGER`, :data:`LOW` and :data:`GRAPHS`.
        backend: Of ``torch.compile``.
        repeats: Rounds that count.
    """
    low = replace(options, precision='bf16', layout='channels_last')
    asked = {EAGER: options, LOW: low, GRAPHS: replace(low, compile=backend)}
    work = {side: Workload(asked[side]) for side in sides}
    equal = _equal(work[EAGER], work[sides[-1]])
    product = MatrixProduct(options.device, torch.bfloat16)
    cases: dict[str, Callable[[], Any]] = {side: one.step for side, one in work.items()} | {'': product}
    seconds: dict[str, list[float]] = {side: [] for side in cases}
    for turn in range(2 + repeats):
        for side, case in cases.items():
            taken = _timed(case, options.device)
            if turn > 1:
                seconds[side].append(taken)
    middle = {side: statistics.median(taken) for side, taken in seconds.items()}
    work[EAGER].model.requires_grad_(options.train)
    operations = count_flops(work[EAGER].step).image
    achieved = operations / middle[sides[-1]] * middle[''] / product.flops
    return Row(name, {side: options.batch_size / middle[side] for side in sides}, equal, achieved)


def _timed(case: Callable[[], Any], device: str) -> float:
    """Seconds of one call: of the processor on a CPU, which others may use, too; of the clock on a GPU."""
    clock = time.process_time if torch.device(device).type == 'cpu' else time.perf_counter
    synchronize(device)
    start = clock()
    case()
    synchronize(device)
    return clock() - start


def _equal(plain: Workload, other: Workload) -> float:
    if plain.options.train:
        new, old = (float(sum(v.double().sum().item() for v in work.losses().values())) for work in (other, plain))
        return 1 - abs(new - old) / abs(old)
    ours, theirs = other.results(), plain.results()
    shares = []
    for key, value in theirs.items():
        if value.shape != ours[key].shape:  # another number of objects
            shares.append(0.0)
        elif value.is_floating_point():
            shares.append(float(((value - ours[key]).abs() <= 0.05 * value.abs().clamp_min(1)).float().mean()))
        else:
            shares.append(float((value == ours[key]).float().mean()))
    return min(shares)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print a table row by row."""
    parser = argparse.ArgumentParser(prog='python -m studies.gpu', description='See the top of the file.')
    parser.add_argument('--device', default='cuda')
    parser.add_argument('--small', action='store_true', help='models of a few million parameters')
    parser.add_argument('--only', nargs='+', metavar='NAME', help='models whose names hold one of these')
    parser.add_argument('--backend', default='inductor', help='of torch.compile; none leaves graphs out')
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--threads', type=int, help='CPU threads')
    parser.add_argument('--minutes', type=float, default=8.0, help='no model is begun after these (default: 8)')
    parser.add_argument('--out', metavar='FILE', help='also write the table there')
    args = parser.parse_args(argv)
    start, lines = time.perf_counter(), []
    sides = [EAGER, LOW] if args.backend == 'none' else [EAGER, LOW, GRAPHS]

    def say(line: str) -> None:
        lines.append(line)
        print(line, flush=True)

    models = [(name, config, False) for name, config in (SMALL if args.small else FULL).items()]
    models += [
        (f'{name}, training step', config, True) for name, config in (SMALL_STEPS if args.small else FULL_STEPS).items()
    ]
    chosen = [m for m in models if args.only is None or any(word in m[0] for word in args.only)]
    options = ModelOptions('', device=args.device, threads=args.threads)
    say(f'| model, pictures per second | {" | ".join(sides)} | ratio | equal | of the matrix product |')
    say('| --- |' + ' ---: |' * (len(sides) + 3))
    failed = late = 0
    for name, config, train in chosen:
        if time.perf_counter() - start > 60 * args.minutes:
            late += 1
            continue
        own = OVERRIDES.get(name.split()[0])
        asked = replace(options, config=config, train=train, batch_size=2 if train else 1, overrides=own)
        try:
            say('| ' + ' | '.join(measure(name, asked, sides, args.backend, args.repeats).cells(sides)) + ' |')
        except Exception as error:  # a stranger's machine: one model that fails must not take the table with it
            failed += 1
            say(f'| {name} | failed: {type(error).__name__}: {str(error).splitlines()[0]:.120} |' + ' |' * len(sides))
        gc.collect()
        if torch.device(args.device).type == 'cuda':
            torch.cuda.empty_cache()
    say(f'\n{describe(args.device)}; {time.perf_counter() - start:.0f} s; {failed} failed, {late} left out for time')
    if args.out:
        Path(args.out).write_text('\n'.join(lines) + '\n', encoding='utf-8')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
