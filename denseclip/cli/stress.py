"""``denseclip stress``: how far a model's results hold on bad pictures, unknown classes and foreign grounds."""

from __future__ import annotations

import argparse

from denseclip.cli.cfg_options import add_cfg_options
from denseclip.cli.options import WEIGHTS, add_clip_options, add_compute_options, add_trust
from denseclip.cli.programs import FormerName, at_least
from denseclip.cli.talk import use_host
from denseclip.files.names import shown

HELP = 'measure what corruptions, unknown classes and foreign grounds do to a model'
EPILOG = (
    'example:\n'
    '  denseclip stress maskclip_vit-xs8_zs_miniworld-128x128 --preset naclip --out stress/naclip\n'
    'A run that was stopped goes on when the command is given again.'
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Words and options of the command."""
    parser.add_argument(
        'name',
        metavar='CONFIG_OR_MODEL',
        help='config of a segmentor, or a name that `denseclip models` shows (with --data where it has no pictures)',
    )
    parser.add_argument('--weights', metavar='FILE', help=f"{WEIGHTS} (default: the config's load_from)")
    parser.add_argument('--checkpoint', action=FormerName, new='--weights')
    parser.add_argument('--out', required=True, metavar='DIR', help='folder for stress.json, stress.md and plots')
    parser.add_argument('--data', metavar='CONFIG', help="config with the test pictures (default: the model's config)")
    parser.add_argument(
        '--preset', metavar='NAME', help="another training-free method on the CLIP of the model's config"
    )
    parser.add_argument(
        '--parts', nargs='+', metavar='PART', help='some of corruptions, unknown, grounds, binding (default: all)'
    )
    parser.add_argument(
        '--corruptions', nargs='+', metavar='NAME', help='corruptions, or noise, blur, weather, digital (default: all)'
    )
    parser.add_argument('--severities', nargs='+', type=int, metavar='N', help='1 to 5 (default: all)')
    parser.add_argument(
        '--hold-out',
        metavar='NAMES',
        help='classes that the model is not told of, separated by ";" (default: each once)',
    )
    parser.add_argument(
        '--objects', metavar='NAMES', help='classes that are put on other grounds (default: all not known as stuff)'
    )
    parser.add_argument('--limit', type=at_least(1), metavar='N', help='pictures, evenly spread over the set')
    parser.add_argument('--seed', type=at_least(0), default=0, help='of all chance (%(default)s)')
    add_clip_options(parser, 'a preset that is named without a config')
    parser.add_argument('--device', metavar='DEVICE', help='such as cpu or cuda:0 (default: CUDA where there is any)')
    add_compute_options(parser)
    add_trust(parser)
    add_cfg_options(parser, '--cfg-options')
    parser.add_argument('--force', action='store_true', help='begin anew where the folder holds other results')


def run(args: argparse.Namespace) -> int:
    """Measure, and print the table."""
    use_host('denseclip stress')
    from denseclip.apis.stress import StressOptions, load_subject, stress
    from denseclip.apis.stress.report import markdown
    from denseclip.cli.progress import counting

    held = None if args.hold_out is None else [name.strip() for name in args.hold_out.split(';') if name.strip()]
    options = StressOptions(args.parts, args.corruptions, args.severities, held, args.objects, args.seed, args.force)
    shared = ('clip', 'pretrained', 'device', 'precision', 'layout', 'compile', 'trust')
    subject = load_subject(
        args.name,
        args.weights,
        data=args.data,
        preset=args.preset,
        limit=args.limit,
        overrides=args.cfg_options,
        **{name: getattr(args, name) for name in shared},
    )
    with counting('looking at pictures') as progress:
        content = stress(subject, args.out, options, progress)
    print(markdown(content))
    print(f'written: {shown(args.out)}/stress.json, stress.md, plots')
    return 0
