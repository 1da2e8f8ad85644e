"""``denseclip segment`` with query-based models: which config stands for a method, and what each task writes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from denseclip.apis.errors import UserError

if TYPE_CHECKING:
    from denseclip.apis.detection import Detections
    from denseclip.apis.mask_inferencer import MaskInferencer
    from denseclip.apis.panoptic import PanopticSegmentation
    from denseclip.apis.segmentation import Segmentation
    from denseclip.clip.vocabulary import Vocabulary

MASK_TASKS = ('semantic', 'panoptic', 'instance')
MASK_CONFIGS = {
    'fcclip': 'configs/fcclip/fcclip_convnext-l_369k_ade20kpanoptic-1333x800.py',
    'maft': 'configs/maft/maft-plus_convnext-l_55k_ade20k-1333x800.py',
    'pmp': 'configs/pmp/pmp_fcclip_convnext-l_20k_ade20k-1333x800.py',
}
"""Config of each method, where none is given; those of the published checkpoints, where there are any."""


def add_mask_options(parser: argparse.ArgumentParser) -> None:
    """Options of query-based models."""
    parser.add_argument(
        '--task',
        choices=MASK_TASKS,
        help='what a query-based model (fcclip, maft, pmp, or --config) makes of its masks: labels, segments or '
        'instances (default: semantic)',
    )
    parser.add_argument(
        '--things',
        metavar='TEXT',
        help='countable classes for panoptic and instance results: names separated by ";", all, none, or the things of '
        'ade20k, cityscapes, coco (default: all but words such as sky, road, grass)',
    )
    parser.add_argument('--score', type=float, metavar='SCORE', help='least confidence of an instance (default: 0.3)')


def load_mask_inferencer(args: argparse.Namespace, vocabulary: Vocabulary | None) -> MaskInferencer:
    """The model that the options name.

    Args:
        args: ``method`` (None with ``config``), ``config``, ``weights``, ``device``, ``trust``, ``task``, ``things``
            and ``score``.
        vocabulary: Classes, or None for the model's own.

    Raises:
        UserError: If the model cannot be used.
    """
    from denseclip.apis.bundled import find_config
    from denseclip.apis.mask_inferencer import DEFAULT_SCORE, MaskInferencer

    config = args.config or find_config(MASK_CONFIGS[args.method])
    if args.weights is None and args.config is None:
        raise UserError(
            f'--method {args.method} needs the weights of {Path(config).name}: give its checkpoint with --weights '
            f'({Path(config).parent / "README.md"} says where it comes from).'
        )
    if args.score is not None and not 0 <= args.score <= 1:
        raise UserError(f'--score {args.score:g} must be between 0 and 1.')
    return MaskInferencer(
        config,
        args.weights,
        args.device,
        vocabulary,
        trust=args.trust,
        task=args.task or 'semantic',
        things=args.things,
        score=DEFAULT_SCORE if args.score is None else args.score,
    )


def result_suffixes(task: str | None) -> tuple[str, ...]:
    """Endings of the files that a task writes."""
    from denseclip.apis.results.formats import endings

    return endings(task or 'semantic')


def format_masks(result: Segmentation | PanopticSegmentation | Detections) -> str:
    """What was found in a picture, for the terminal."""
    from denseclip.apis.area_table import format_areas
    from denseclip.apis.detect_cli import summary_text
    from denseclip.apis.detection import Detections
    from denseclip.apis.panoptic import PanopticSegmentation, format_segments

    if isinstance(result, PanopticSegmentation):
        return format_segments(result)
    return summary_text(result) if isinstance(result, Detections) else format_areas(result)
