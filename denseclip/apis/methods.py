"""Methods that ``denseclip segment --method`` knows, and how each makes a model from the options.

Nothing heavy is imported here: the command line must answer ``--help`` at once.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from denseclip.apis.errors import UserError
from denseclip.apis.mask_methods import MASK_CONFIGS, load_mask_inferencer

if TYPE_CHECKING:
    from denseclip.apis.inferencer import Inferencer
    from denseclip.clip.vocabulary import Vocabulary

Loader = Callable[[argparse.Namespace, 'Vocabulary | None'], 'Inferencer']

STAGES = ('both', 'first', 'second')
MASK_SOURCES = 'model, superpixels, sam:FILE (weights of Segment Anything), or a folder of mask files'


def add_method_options(parser: argparse.ArgumentParser) -> None:
    """``--method`` and what belongs to single methods."""
    parser.add_argument(
        '--method',
        choices=sorted(METHODS),
        help='a published model with a mask generator; with --weights (its checkpoint), and --config if it is not the '
        'largest one. ovseg also works with masks from elsewhere: see --masks',
    )
    group = parser.add_argument_group('--method ovseg')
    group.add_argument(
        '--masks',
        metavar='SOURCE',
        help=f'where masks come from: {MASK_SOURCES} (default: model; others need no --weights, CLIP decides)',
    )
    group.add_argument(
        '--stage',
        choices=STAGES,
        help='who decides about a mask: the mask generator (first), CLIP on a picture of it (second, the default: it '
        'knows any word), or both',
    )


def load_method(args: argparse.Namespace, vocabulary: Vocabulary | None) -> Inferencer:
    """The model that ``--method`` and the other options mean.

    Raises:
        UserError: If the options do not go together.
    """
    if args.preset is not None:
        raise UserError(f'--method {args.method} and --preset {args.preset} are two models: leave one of them out.')
    if args.method != 'ovseg':
        for option in ('masks', 'stage'):
            if getattr(args, option) is not None:
                raise UserError(f'--{option} goes with --method ovseg; leave it out.')
        if args.clip is not None or args.pretrained is not None:
            raise UserError(f'--method {args.method} has a CLIP in its checkpoint: leave --clip and --pretrained out.')
    return METHODS[args.method](args, vocabulary)


def _load_ovseg(args: argparse.Namespace, vocabulary: Vocabulary | None) -> Inferencer:
    from denseclip.apis.two_stage import ovseg_inferencer

    if args.task not in (None, 'semantic') or args.things is not None or args.score is not None:
        raise UserError('OVSeg gives semantic results only: leave --task, --things and --score out.')
    return ovseg_inferencer(
        vocabulary,
        config=args.config,
        weights=args.weights,
        masks=args.masks or 'model',
        stages=args.stage,
        clip=args.clip,
        pretrained=args.pretrained,
        device=args.device,
        trust=args.trust,
    )


METHODS: dict[str, Loader] = {'ovseg': _load_ovseg, **dict.fromkeys(MASK_CONFIGS, load_mask_inferencer)}
