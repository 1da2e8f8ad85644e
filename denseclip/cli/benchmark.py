"""``denseclip benchmark``: measure a model, its text side, or its label maps on this machine."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from denseclip.cli.cfg_options import add_cfg_options
from denseclip.cli.options import add_compute_options, add_config, add_grad_checkpointing, add_trust
from denseclip.cli.programs import at_least

if TYPE_CHECKING:
    from denseclip.engine.benchmark import Report

HELP = 'measure a model, its text side, or its label maps on this machine'
DESCRIPTION = """Measure a model, its text side, or its label maps on this machine.

model CONFIG [CHECKPOINT]   one model: size, operations, time per stage, memory
text                        prompts at their true length, vocabularies from disk
labelmap                    label maps of many classes
anomaly                     measures of anomaly maps
vocabulary CONFIG           another vocabulary, against building the model anew

With --against baseline the plain version runs too, in the same process and in turn, and the results are compared; the
exit code is 1 if they differ."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Words and options of the command."""
    parts = parser.add_subparsers(dest='part', metavar='PART', required=True)
    for name, add in PARTS.items():
        part = parts.add_parser(name, description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter)
        add(part)
        if name != 'vocabulary':  # it compares as it is
            part.add_argument('--against', choices=['baseline'], help='compare with the plain version')
        if name != 'anomaly':  # its measures are the CPU's
            part.add_argument('--device', default='cpu', help='cpu (default), cuda, cuda:1 ...')
        part.add_argument('--threads', type=at_least(1), help="CPU threads (default: PyTorch's choice)")
        part.add_argument('--out', metavar='FILE', help='also write the report there, as .json or .md')
        part.add_argument('--force', action='store_true', help='write over an existing --out')
        part.add_argument('--debug', action='store_true', help='show a traceback when something fails')


def _add_rounds(parser: argparse.ArgumentParser, repeats: int, warmup: int) -> None:
    parser.add_argument('--repeats', type=at_least(1), default=repeats, help='rounds that count (default: %(default)s)')
    parser.add_argument('--warmup', type=at_least(0), default=warmup, help='rounds before them (default: %(default)s)')
    parser.add_argument(
        '--no-memory', action='store_true', help='leave out peak memory, which takes a process per version'
    )


def _add_model(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument('checkpoint', nargs='?', help='weights (default: random ones; time does not depend on them)')
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument(
        '--picture',
        type=at_least(1),
        nargs=2,
        default=(480, 640),
        metavar=('H', 'W'),
        help="size of the picture file; the network gets it resized as the config's test pipeline does "
        '(default: 480 640)',
    )
    sizes.add_argument(
        '--shape', type=at_least(1), nargs=2, metavar=('H', 'W'), help='size that the network gets, and of the results'
    )
    parser.add_argument('--batch-size', type=at_least(1), default=1, help='pictures per step (default: 1)')
    parser.add_argument('--vocabulary', metavar='NAME_OR_FILE', help="class names instead of the config's")
    parser.add_argument('--train', action='store_true', help='measure a training step instead of a prediction')
    add_compute_options(parser)
    add_grad_checkpointing(parser)
    add_trust(parser)
    add_cfg_options(parser, '--cfg-options')
    _add_rounds(parser, repeats=10, warmup=2)


def _add_text(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--model', default='ViT-B-16', help='open_clip architecture (default: %(default)s)')
    parser.add_argument('--prompts', type=at_least(1), default=1000, help='how many (default: %(default)s)')
    parser.add_argument('--vocabulary', default='ade20k', help='their words (default: %(default)s)')
    parser.add_argument('--templates', default='openai_imagenet', help='their sentences (default: %(default)s)')
    parser.add_argument('--batch-size', type=at_least(1), default=100, help='prompts per pass (default: %(default)s)')


def _add_label_map(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--classes', type=at_least(1), default=847, help='K (default: %(default)s)')
    parser.add_argument(
        '--size',
        type=at_least(1),
        nargs=2,
        default=(640, 854),
        metavar=('H', 'W'),
        help='size of the picture (default: 640 854)',
    )
    parser.add_argument(
        '--input-size',
        type=at_least(1),
        nargs=2,
        metavar=('H', 'W'),
        help="size of the network's input (default: --size)",
    )
    _add_rounds(parser, repeats=5, warmup=1)


def _add_anomaly(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--pictures', type=at_least(1), default=100, help='how many maps (default: %(default)s)')
    parser.add_argument(
        '--size',
        type=at_least(1),
        nargs=2,
        default=(512, 512),
        metavar=('H', 'W'),
        help='of the maps (default: 512 512)',
    )
    parser.add_argument('--repeats', type=at_least(1), default=3, help='rounds that count (default: %(default)s)')


def _add_vocabulary(parser: argparse.ArgumentParser) -> None:
    add_config(parser, 'config of an open-vocabulary segmentor')
    parser.add_argument('--vocabulary', default='ade20k', help='names to change to (default: %(default)s)')
    parser.add_argument('--start', type=int, default=20, help='how many there are before (default: %(default)s)')
    parser.add_argument('--unknown', type=int, default=10, help='new ones where most are known (default: %(default)s)')
    add_cfg_options(parser, '--cfg-options')


PARTS = {
    'model': _add_model,
    'text': _add_text,
    'labelmap': _add_label_map,
    'anomaly': _add_anomaly,
    'vocabulary': _add_vocabulary,
}
"""What can be measured, and its options. Defaults are those of the classes of options; a test keeps them equal."""


def run(args: argparse.Namespace) -> int:
    """Measure, print, and say by the exit code whether both versions agree."""
    from denseclip.compat.versions import require_host_stack

    require_host_stack('measuring')
    from denseclip.apis.errors import UserError

    report = _measure(args)
    report.command = args.typed
    print(report.markdown())
    if args.out:
        if Path(args.out).exists() and not args.force:
            raise UserError(f"--out '{args.out}' exists: choose another name, or pass --force to write over it")
        report.write(args.out)
    return 1 if report.equal is False else 0


def _measure(args: argparse.Namespace) -> Report:
    """Run what was asked for."""
    from denseclip.engine import benchmark as suite

    against = getattr(args, 'against', None) is not None
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in vars(args).items()}
    given['overrides'] = given.pop('cfg_options', None)

    def picked(*names: str) -> dict[str, Any]:
        return {name: given[name] for name in (*names, 'threads')}

    names: tuple[str, ...]
    if args.part == 'text':
        names = ('model', 'prompts', 'vocabulary', 'templates', 'batch_size', 'device')
        return suite.benchmark_text(suite.TextOptions(**picked(*names)), against_plain=against)
    if args.part == 'anomaly':
        options = suite.AnomalyOptions(**picked('pictures', 'size'))
        return suite.benchmark_anomaly(options, against_plain=against, repeats=args.repeats)
    if args.part == 'vocabulary':
        names = ('config', 'vocabulary', 'start', 'unknown', 'device', 'overrides')
        return suite.benchmark_vocabulary(suite.VocabularyOptions(**picked(*names)))
    rounds: dict[str, Any] = dict(repeats=args.repeats, warmup=args.warmup, memory=not args.no_memory)
    if args.part == 'labelmap':
        names = ('classes', 'size', 'input_size', 'device')
        return suite.benchmark_label_map(suite.LabelMapOptions(**picked(*names)), against_plain=against, **rounds)
    names = ('config', 'checkpoint', 'shape', 'picture', 'batch_size', 'device', 'vocabulary', 'train', 'trust')
    names = (*names, 'precision', 'layout', 'compile', 'grad_checkpointing')
    return suite.benchmark_model(suite.ModelOptions(**picked(*names, 'overrides')), against_plain=against, **rounds)
