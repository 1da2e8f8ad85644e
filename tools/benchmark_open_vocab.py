#!/usr/bin/env python
"""Evaluate open-vocabulary methods on several sets and write one table; a second call goes on where the first stopped.

Examples:
    python tools/benchmark_open_vocab.py --presets maskclip sclip --datasets voc20 ade20k --device cuda
    python tools/benchmark_open_vocab.py --presets clip maskclip --datasets voc20 \
        --towers ViT-B-16=openai ViT-B-16=dreamlip.pt local-dir:clips/longclip
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import denseclip  # noqa: F401  (registers models and data sets; worker processes import this file)
from denseclip.cli.cfg_options import add_cfg_options
from denseclip.cli.programs import FormerName, add_debug_option, at_least, program
from denseclip.datasets.open_vocab import DOMAIN_SETS, LARGE_SETS, MESS_SETS, MINIWORLD, PROTOCOLS, SETS
from denseclip.engine.config import OptionError
from denseclip.structures.active_vocabulary import SCORERS

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # studies are part of the checkout alone
from studies.open_vocab_grid import CellOptions, make_cells, run_grid, towers_of
from studies.open_vocab_grid.cells import ORACLES, OWN, known_presets
from studies.open_vocab_grid.grid import GridOptions


def pairs(values: list[str] | None, option: str) -> dict[str, str]:
    """``NAME=VALUE`` arguments as a mapping."""
    wrong = [value for value in values or [] if '=' not in value]
    if wrong:
        raise OptionError(f'{option} takes NAME=VALUE, got {" ".join(wrong)}')
    return dict(value.split('=', 1) for value in values or [])


def checkpoints(values: list[str] | None) -> list[dict[str, str]]:
    """``NAME=FILE`` arguments, as many mappings as the name that is given most often has files."""
    files: dict[str, list[str]] = {}
    for value in values or []:
        (name, file), *_ = pairs([value], '--weights').items()
        files.setdefault(name, []).append(file)
    count = max(map(len, files.values()), default=1)
    return [{name: found[min(k, len(found) - 1)] for name, found in files.items()} for k in range(count)]


def parse_args(argv: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--presets', nargs='+', metavar='NAME', help='methods; see --list')
    parser.add_argument(
        '--datasets', nargs='+', default=list(SETS), metavar='SET', help='default: the eight published sets'
    )
    parser.add_argument(
        '--protocols', nargs='+', default=[OWN], metavar='NAME', help=f"default: {OWN}, that of the method's paper"
    )
    parser.add_argument('--model', help="open_clip architecture, local-dir:FOLDER or hf-hub:NAME (default: protocol's)")
    parser.add_argument('--pretrained', help="tag or file of CLIP's weights (default: the protocol's)")
    parser.add_argument(
        '--towers',
        nargs='+',
        metavar='CLIP',
        help='several CLIPs: ARCHITECTURE=WEIGHTS (a tag, a file, or random), ARCHITECTURE, local-dir:FOLDER or '
        'hf-hub:NAME; also writes towers.md, a row for each',
    )
    parser.add_argument('--config', nargs='+', metavar='NAME=FILE', help='methods that are configs, under a name')
    parser.add_argument(
        '--weights',
        nargs='+',
        metavar='NAME=FILE',
        help='checkpoints of methods that have learned; several of one name (other seeds) also give mean and spread',
    )
    parser.add_argument('--checkpoint', nargs='+', action=FormerName, new='--weights')
    parser.add_argument('--data-root', nargs='+', metavar='SET=FOLDER', help='sets that lie elsewhere')
    parser.add_argument(
        '--set-config', nargs='+', metavar='SET=FILE', help="sets of one's own: configs with a test_dataloader"
    )
    parser.add_argument('--out', default='work_dirs/open_vocab', help='folder of results (default: %(default)s)')
    parser.add_argument('--limit', type=at_least(1), help='only the first so many pictures of each set')
    parser.add_argument('--oracle', choices=ORACLES, help='what the labels give away: shows which stage loses points')
    parser.add_argument(
        '--active-vocabulary', choices=tuple(SCORERS), help='choose the classes of each picture first, by this score'
    )
    parser.add_argument('--device', default='cpu', help='cpu or cuda (default: %(default)s)')
    parser.add_argument('--threads', type=at_least(1), help='CPU threads')
    parser.add_argument('--num-workers', type=at_least(0), default=2, help='processes that read pictures (default: 2)')
    parser.add_argument('--window-batch', type=at_least(1), default=8, help='windows that are run at once (default: 8)')
    parser.add_argument('--save-every', type=float, default=20.0, help='seconds between saves (default: 20)')
    parser.add_argument('--no-isolation', action='store_true', help='run all cells in this process')
    parser.add_argument('--restart', action='store_true', help='forget earlier results of these cells')
    parser.add_argument('--list', action='store_true', help='show presets, sets and protocols, and stop')
    add_cfg_options(parser, '--cfg-options', default={}, help='changes to every config')
    add_debug_option(parser)
    return parser.parse_args(argv)


def show_choices() -> None:
    """Print what can be asked for."""
    print('presets:  ', ', '.join(known_presets({})))
    more = {'hundreds of classes': LARGE_SETS, 'other domains': DOMAIN_SETS, 'MESS benchmark': MESS_SETS}
    listed = '; '.join(f'{", ".join(sets)} ({what})' for what, sets in more.items())
    print(f'sets:      {", ".join(SETS)} (published); {listed}; {MINIWORLD.name}')
    print('protocols:')
    for entry in PROTOCOLS.values():
        print(f'  {entry.name:14s} {entry.source}')


@program
def main(argv: list[str]) -> int:
    """Run the grid; exit code 1 if a cell failed."""
    args = parse_args(argv)
    if args.list:
        show_choices()
        return 0
    if not args.presets:
        raise OptionError('--presets: name at least one; --list shows them')
    options = CellOptions(
        model=args.model,
        pretrained=args.pretrained,
        configs=pairs(args.config, '--config'),
        data_roots=pairs(args.data_root, '--data-root'),
        set_configs=pairs(args.set_config, '--set-config'),
        limit=args.limit,
        window_batch=args.window_batch,
        overrides=args.cfg_options,
        oracle=args.oracle,
        active_vocabulary=args.active_vocabulary,
    )
    each = towers_of(args.towers, options) if args.towers else [options]
    learned = [replace(tower, checkpoints=files) for tower in each for files in checkpoints(args.weights)]
    made = [make_cells(args.presets, args.datasets, args.protocols, one) for one in learned]
    cells = list({cell.file_name: cell for found, _ in made for cell in found}.values())
    notes = list(dict.fromkeys(note for _, said in made for note in said))
    how = GridOptions(
        device=args.device,
        threads=args.threads,
        num_workers=args.num_workers,
        save_every=args.save_every,
        isolate=not args.no_isolation,
        restart=args.restart,
    )
    for note in notes:
        print(note)
    states = run_grid(cells, args.out, how, say=lambda text: print(text, flush=True))
    print(f'{args.out}/table.md')
    if args.towers:
        print((Path(args.out) / 'towers.md').read_text(encoding='utf-8') if len(each) > 1 else '', end='')
    return 0 if all(state.status in ('done', 'impossible') for state in states) else 1


if __name__ == '__main__':
    sys.exit(main())
