#!/usr/bin/env python
"""Read the data set of a config as training will and report what is wrong with it (exit code 1 if anything is)."""

import argparse
import sys

import denseclip  # noqa: F401  (registers the data sets)
from denseclip.apis.cfg_options import add_cfg_options
from denseclip.apis.programs import add_debug_option, at_least, program


@program
def main(argv: list[str]) -> int:
    """Audit the chosen splits one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file whose data set is read')
    parser.add_argument(
        '--split', choices=['train', 'val', 'test'], action='append', help='default: all that the config has'
    )
    parser.add_argument('--num-workers', type=at_least(0), default=2, help='threads that decode files (default: 2)')
    parser.add_argument('--max-problems', type=at_least(0), default=20, help='lines shown of each kind of problem')
    add_cfg_options(parser, '--cfg-options')
    add_debug_option(parser)
    args = parser.parse_args(argv)

    from denseclip.datasets.audit import audit_split
    from denseclip.datasets.perfect import score_perfect_model
    from denseclip.engine.config import OptionError, load_config

    config = load_config(args.config, args.cfg_options)
    sound = True
    splits = [split for split in ('train', 'val', 'test') if config.get(f'{split}_dataloader')]
    lacking = [split for split in args.split or [] if split not in splits]
    if lacking or not splits:
        raise OptionError(f'{args.config} has no data for {", ".join(lacking or ("train", "val", "test"))}')
    for split in args.split or splits:
        readable = True
        for name, report in audit_split(config, split, num_workers=args.num_workers, progress_file=sys.stderr):
            print(f'\n== {name} ==\n{report.render(max_problems=args.max_problems)}', flush=True)
            readable = readable and report.ok
        score = score_perfect_model(config, split) if readable else None
        if score:
            print(score.render())
        sound = sound and readable and (score is None or score.ok)
    return 0 if sound else 1


if __name__ == '__main__':
    sys.exit(main())
