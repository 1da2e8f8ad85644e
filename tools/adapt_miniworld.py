"""Adapt miniworld's small CLIP to masked pictures, and measure every step: ``python tools/adapt_miniworld.py``.

1. Write miniworld: captioned pictures for training, and validation pictures whose things wear colours that no training
   caption names with them.
2. Mine mask-noun pairs from the captions; read the true regions of the validation pictures off their label maps.
3. Learn mask prompts on CLIP as it is (mpt), or coupled prompts (coupled); fine-tune CLIP (ft), and learn mask prompts
   on that one (ft-mpt).
4. Classify the true regions with each of the five, and segment whole pictures in two stages with each.
5. Segment with the last one again, leaving out near-duplicate and tiny masks before CLIP looks at them.

A step whose result is there already is left out, so the same command goes on after a stop.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import nn

import denseclip  # noqa: F401
from denseclip.cli.programs import add_debug_option, at_least, program
from denseclip.cli.progress import counting
from denseclip.clip.loading import load_clip
from denseclip.datasets.captions import CaptionedImages
from denseclip.datasets.miniworld import MiniworldDataset, write_miniworld
from denseclip.engine.checkpoints import read_training_file
from denseclip.engine.config import OptionError, load_config, use_suite_hooks
from denseclip.engine.launch import TrainOptions, train
from denseclip.engine.runner import SuiteRunner
from denseclip.files.atomic import write_text
from denseclip.files.progress import after_each
from denseclip.models.pretraining import export_pretrained
from denseclip.models.region_classifier import RegionClassifier

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # studies are part of the checkout alone
from studies.mining import (
    CaptionPairs,
    LabelMapPairs,
    PairSource,
    PictureProposals,
    RegionEncoder,
    WordListNouns,
    mine,
)

CONFIGS = Path(__file__).parents[1] / 'configs' / 'adapted_clip'
MODELS = ('raw', 'mpt', 'coupled', 'ft', 'ft-mpt')
DROPPED = {
    'near-duplicates': dict(max_overlap=0.8),
    'near-duplicates, below 2 %': dict(max_overlap=0.8, min_area=0.02),
    'near-duplicates, below 5 %': dict(max_overlap=0.8, min_area=0.05),
}
"""Masks that the second stage leaves out, by the arguments of its region classifier."""


def parse_args(argv: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--clip', default='checkpoints/miniworld_clip', help='folder of the CLIP to adapt')
    parser.add_argument('--out', default='work_dirs/adapt_miniworld', help='folder for everything that is written')
    parser.add_argument('--count', type=at_least(1), default=1000, help='captioned pictures (default: 1000)')
    parser.add_argument('--val-count', type=at_least(0), default=200, help='validation pictures (default: 200)')
    parser.add_argument('--side', type=at_least(1), default=96, help='of the pictures (default: 96)')
    parser.add_argument('--iters', type=at_least(1), default=300, help='iterations of each training (default: 300)')
    parser.add_argument('--proposer', default='SuperpixelMasks', help='type of the mask proposer')
    parser.add_argument(
        '--proposer-options', help='its arguments, as JSON (default for SuperpixelMasks: scales that fit miniworld)'
    )
    parser.add_argument('--threads', type=at_least(1), help='threads of PyTorch (default: all cores)')
    parser.add_argument('--skip-segmentation', action='store_true', help='leave the two-stage segmentation out')
    add_debug_option(parser)
    return parser.parse_args(argv)


def proposer_options(args: argparse.Namespace) -> dict[str, Any]:
    """Arguments of the proposer; by default scales at which superpixels find nearly all things of miniworld."""
    if args.proposer_options is not None:
        return json.loads(args.proposer_options)
    return {'scales': [300, 900, 2700], 'min_area': 0.01, 'max_masks': 60} if args.proposer == 'SuperpixelMasks' else {}


def write_data(args: argparse.Namespace) -> Path:
    """Pictures, pairs mined from the captions of the training ones, and the true regions of the validation ones."""
    root, size = Path(args.out) / 'data', (args.side, args.side)
    write_miniworld('coco', root / 'coco', count=args.count, val_count=0, size=size)
    write_miniworld('ade20k', root / 'ade20k', count=0, val_count=args.val_count, size=size)
    proposer = dict(type=args.proposer, **proposer_options(args))
    captions = str(root / 'coco' / 'annotations' / 'captions_train2017.json')
    mined = CaptionPairs(
        CaptionedImages(ann_file=captions, data_prefix=dict(img_path=str(root / 'coco' / 'train2017'))),
        PictureProposals(proposer),
        RegionEncoder(load_clip(f'local-dir:{args.clip}'), templates='photo'),
        WordListNouns('miniworld'),
        captions=1,
        min_area=0.01,  # captions do not mention what is smaller
        mutual=True,
        about={'proposer': proposer},
    )
    prefix = dict(img_path='images/validation', seg_map_path='annotations/validation')
    true = LabelMapPairs(MiniworldDataset(data_root=str(root / 'ade20k'), data_prefix=prefix, pipeline=[]))
    sources: dict[str, PairSource] = {'coco/mask_pairs/train2017': mined, 'ade20k/mask_pairs/validation': true}
    for folder, source in sources.items():
        with counting(folder) as show:
            mine(source, root / folder, progress=after_each(show, len(source)))
    return root


def overrides(args: argparse.Namespace, root: Path, clip: str | Path) -> dict[str, Any]:
    """Config entries that say where things lie and how long to train."""
    warm_up = max(2, args.iters // 10)
    return {
        'model.clip.model': f'local-dir:{clip}',
        'train_dataloader.dataset.data_root': str(root / 'coco'),
        'val_dataloader.dataset.data_root': str(root / 'ade20k'),
        'test_dataloader.dataset.data_root': str(root / 'ade20k'),
        'train_cfg.max_iters': args.iters,
        'train_cfg.val_interval': args.iters,
        'param_scheduler': [
            dict(type='LinearLR', start_factor=1 / warm_up, by_epoch=False, begin=0, end=warm_up),
            dict(type='CosineAnnealingLR', eta_min=0.0, by_epoch=False, begin=warm_up, end=args.iters),
        ],
        'default_hooks.checkpoint.interval': args.iters,
    }


def adapt(args: argparse.Namespace, root: Path, kind: str, start: str | Path) -> Path:
    """Train one of the configs and export it.

    Args:
        args: Of the command line.
        root: Folder of the data.
        kind: ``mpt``, ``coupled``, ``ft`` or ``ft-mpt``.
        start: Folder of the CLIP to start from.

    Returns:
        Folder of the adapted CLIP.
    """
    work, config = Path(args.out) / kind, CONFIGS / f'adapt-{kind}_vit-xs8_300_miniworld-64x64.py'
    folder = work / 'clip'
    weights, checkpoint = folder / 'open_clip_model.safetensors', work / f'iter_{args.iters}.pth'
    if not (weights.is_file() and checkpoint.is_file()):
        for other in (weights, *work.glob('iter_*.pth')):  # of a training of another length
            other.unlink(missing_ok=True)
        changes = overrides(args, root, start)
        train(config, TrainOptions(work_dir=str(work), seed=0, overrides=changes))
        state = read_training_file(str(checkpoint))['state_dict']
        export_pretrained(load_config(config, changes).model, state, folder, half=False)
    return folder


def classify_regions(args: argparse.Namespace, root: Path, clip: str | Path, prompts: bool) -> dict[str, float]:
    """Accuracies of a CLIP on the true regions of the validation pictures."""
    name = 'ft-mpt' if prompts else 'ft'
    config = load_config(CONFIGS / f'adapt-{name}_vit-xs8_300_miniworld-64x64.py', overrides(args, root, clip))
    return run_test(config, Path(args.out) / 'regions')


def segment_pictures(
    args: argparse.Namespace, root: Path, clip: str | Path, dropped: dict[str, float] | None = None
) -> dict[str, float]:
    """Both mIoUs of the two-stage segmentor whose masks come from the proposer, and the time of its second stage."""
    source = dict(model=f'local-dir:{clip}')
    config = load_config(CONFIGS / 'adapt-ft_vit-xs8_300_miniworld-64x64.py', overrides(args, root, clip))
    model = dict(
        type='TwoStageSegmentor',
        clip=source,
        vocabulary='miniworld',
        templates='photo',
        region_classifier=dict(threshold=0.5, **(dropped or {})),
        proposer=dict(type=args.proposer, **proposer_options(args)),
        stages='second',
    )
    pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
    prefix = dict(img_path='images/validation', seg_map_path='annotations/validation')
    dataset = dict(type='MiniworldDataset', data_root=str(root / 'ade20k'), data_prefix=prefix, pipeline=pipeline)
    loader = dict(batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False), dataset=dataset)
    config.merge_from_dict(dict(model=dict(_delete_=True, **model), test_dataloader=dict(_delete_=True, **loader)))
    config.test_evaluator = dict(type='SemanticMetric', per_class=False)
    return run_test(config, Path(args.out) / 'segmentation')


def run_test(config: Config, work_dir: Path) -> dict[str, float]:
    """Run the test loop of a config whose model brings its weights."""
    for key in ('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler', 'val_dataloader', 'val_cfg'):
        config.pop(key, None)
    config.pop('val_evaluator', None)
    config.merge_from_dict(dict(work_dir=str(work_dir), launcher='none', randomness=dict(seed=0)))
    use_suite_hooks(config)
    with DefaultScope.overwrite_default_scope('mmseg'):
        runner = SuiteRunner.from_cfg(config)
        seconds = time_regions(runner.model)
        scores = runner.test()
    return {**scores, 'stage2_ms': 1e3 * statistics.median(seconds)} if seconds else scores


def time_regions(model: nn.Module) -> list[float]:
    """A list that gets the seconds of every picture in the second stage."""
    seconds: list[float] = []
    starts: list[float] = []
    for module in model.modules():
        if isinstance(module, RegionClassifier):
            module.register_forward_pre_hook(lambda *_: starts.append(time.perf_counter()))
            module.register_forward_hook(lambda *_: seconds.append(time.perf_counter() - starts.pop()))
    return seconds


def print_table(first: str, results: dict[str, dict[str, float]], columns: Sequence[str]) -> None:
    """A Markdown table of the columns that were measured."""
    columns = [key for key in columns if all(key in values for values in results.values())]
    print(f'| {first} | ' + ' | '.join(columns) + ' |\n| --- |' + ' ---: |' * len(columns))
    for name, values in results.items():
        print(f'| {name} | ' + ' | '.join(f'{values[key]:.1f}' for key in columns) + ' |')


@program
def main(argv: list[str]) -> None:
    """Run all steps and print the table."""
    args = parse_args(argv)
    if not (Path(args.clip) / 'open_clip_config.json').is_file():
        raise OptionError(f"'{args.clip}' is no folder of a CLIP; train one as docs/miniworld.md says")
    if args.threads:
        import torch

        torch.set_num_threads(args.threads)
    root = write_data(args)
    clips: dict[str, str | Path] = {'raw': args.clip}
    clips['mpt'] = adapt(args, root, 'mpt', args.clip)
    clips['coupled'] = adapt(args, root, 'coupled', args.clip)
    clips['ft'] = adapt(args, root, 'ft', args.clip)
    clips['ft-mpt'] = adapt(args, root, 'ft-mpt', clips['ft'])
    results: dict[str, dict[str, float]] = {}
    for name in MODELS:
        results[name] = classify_regions(args, root, clips[name], prompts='mpt' in name)
        if not args.skip_segmentation:
            results[name] |= segment_pictures(args, root, clips[name])
        write_text(Path(args.out) / 'results.json', json.dumps(results, indent=1) + '\n')
    scores = ('mIoU_gt', 'mIoU_gt_or_predicted')
    print_table('CLIP', results, ('top1', 'top5', 'macro', *scores))
    if args.skip_segmentation:
        return
    dropped = {'nothing': results[MODELS[-1]]}
    for name, options in DROPPED.items():
        dropped[name] = segment_pictures(args, root, clips[MODELS[-1]], options)
        write_text(Path(args.out) / 'dropped.json', json.dumps(dropped, indent=1) + '\n')
    print()
    print_table(f'left out ({MODELS[-1]})', dropped, (*scores, 'stage2_ms'))


if __name__ == '__main__':
    sys.exit(main())
