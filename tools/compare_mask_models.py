#!/usr/bin/env python
"""Train FC-CLIP, MAFT+ and prompt-guided masks on miniworld over seeds, and compare them on unseen classes.

Example:
    python tools/compare_mask_models.py --variants methods --seeds 0 1 2
    python tools/compare_mask_models.py --variants pmp-fcclip tokens position prompts --seeds 0
"""

import argparse
import sys
from pathlib import Path

import torch

import denseclip  # noqa: F401  (registers models and data sets; worker processes import this file)
from denseclip.cli.cfg_options import add_cfg_options
from denseclip.cli.programs import add_debug_option, at_least, program

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # studies are part of the checkout alone
from studies.mask_study import VARIANTS, StudyOptions, chosen, run_study


def parse_args(argv: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--variants', nargs='+', default=['methods'], metavar='NAME', help='names or groups (default: methods); --list'
    )
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2])
    parser.add_argument('--iterations', type=at_least(1), help="of each training (default: the configs')")
    parser.add_argument('--count', type=at_least(1), default=1000, help='training pictures (default: %(default)s)')
    parser.add_argument('--val-count', type=at_least(0), default=200, help='validation pictures (default: %(default)s)')
    parser.add_argument('--data', type=Path, default=Path('data/miniworld_96'), help='default: %(default)s')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/mask_study'), help='default: %(default)s')
    parser.add_argument('--threads', type=at_least(1), help='CPU threads')
    parser.add_argument('--list', action='store_true', help='show all variants, and stop')
    add_cfg_options(parser, '--cfg-options', default={}, help='changes to every config')
    add_debug_option(parser)
    return parser.parse_args(argv)


@program
def main(argv: list[str]) -> None:
    """Run the tool."""
    args = parse_args(argv)
    if args.list:
        for variant in VARIANTS.values():
            print(f'{variant.group:10} {variant.name:26} {variant.about}')
        return
    if args.threads:
        torch.set_num_threads(args.threads)
    options = StudyOptions(
        args.out, args.data, args.seeds, args.iterations, args.count, args.val_count, args.cfg_options
    )
    run_study(chosen(args.variants), options, print)
    print((args.out / 'table.md').read_text(encoding='utf-8'))


if __name__ == '__main__':
    sys.exit(main())
