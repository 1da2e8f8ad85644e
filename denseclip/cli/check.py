"""``denseclip check``: read the data set of a config as training will, and report what is wrong with it."""

from __future__ import annotations

import argparse

from denseclip.cli.cfg_options import add_cfg_options
from denseclip.cli.options import add_config
from denseclip.cli.programs import at_least

HELP = 'read the data set of a config as training will and report what is wrong with it (exit code 1 if anything is)'
_SPLITS = ('train', 'val', 'test')


def add_options(parser: argparse.ArgumentParser) -> None:
    """Words and options of the command."""
    add_config(parser, 'config file whose data set is read')
    parser.add_argument('--split', choices=_SPLITS, action='append', help='default: all that the config has')
    parser.add_argument('--num-workers', type=at_least(0), default=2, help='threads that decode files (default: 2)')
    parser.add_argument('--max-problems', type=at_least(0), default=20, help='lines shown of each kind of problem')
    add_cfg_options(parser, '--cfg-options')
    parser.set_defaults(lean=True)


def run(args: argparse.Namespace) -> int:
    """Audit the chosen splits one after the other."""
    from denseclip.compat.versions import require_host_stack

    require_host_stack('checking a data set')
    from denseclip.cli.progress import counting
    from denseclip.datasets.audit import audit_split
    from denseclip.datasets.perfect import score_perfect_model
    from denseclip.engine.config import OptionError, load_config

    config = load_config(args.config, args.cfg_options)
    sound = True
    splits = [split for split in _SPLITS if config.get(f'{split}_dataloader')]
    lacking = [split for split in args.split or [] if split not in splits]
    if lacking or not splits:
        raise OptionError(f'{args.config} has no data for {", ".join(lacking or _SPLITS)}')
    for split in args.split or splits:
        readable = True
        with counting('looking at labels') as progress:
            for name, report in audit_split(config, split, num_workers=args.num_workers, progress=progress):
                print(f'\n== {name} ==\n{report.render(max_problems=args.max_problems)}', flush=True)
                readable = readable and report.ok
        score = score_perfect_model(config, split) if readable else None
        if score:
            print(score.render())
        sound = sound and readable and (score is None or score.ok)
    return 0 if sound else 1
