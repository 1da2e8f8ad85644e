#!/usr/bin/env python
"""Measure a model, its text side, or its label maps on this machine.

python tools/benchmark.py CONFIG [CHECKPOINT] [options]   one model: size, operations, time per stage, memory
python tools/benchmark.py text [options]                  prompts at their true length, vocabularies from disk
python tools/benchmark.py labelmap [options]              label maps of many classes
python tools/benchmark.py anomaly [options]               measures of anomaly maps
python tools/benchmark.py vocabulary CONFIG [options]     another vocabulary, against building the model anew

With --against baseline the plain version runs too, in the same process and in turn, and the results are compared; the
exit code is 1 if they differ.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import denseclip  # noqa: F401  (registers the models, also in the processes that measure memory)
from denseclip.apis.cfg_options import add_cfg_options
from denseclip.apis.programs import add_debug_option, at_least, program
from denseclip.engine.benchmark import (
    PICTURE,
    AnomalyOptions,
    LabelMapOptions,
    ModelOptions,
    Report,
    TextOptions,
    VocabularyOptions,
    benchmark_anomaly,
    benchmark_label_map,
    benchmark_model,
    benchmark_text,
    benchmark_vocabulary,
)
from denseclip.engine.config import OptionError


def common_parser(command: str) -> argparse.ArgumentParser:
    """Options that all measurements share."""
    parser = argparse.ArgumentParser(
        prog=f'benchmark.py {command}'.strip(),
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--against', choices=['baseline'], help='compare with the plain version')
    parser.add_argument('--device', default='cpu', help='cpu (default), cuda, cuda:1 ...')
    parser.add_argument('--threads', type=at_least(1), help="CPU threads (default: PyTorch's choice)")
    parser.add_argument('--out', metavar='FILE', help='also write the report there, as .json or .md')
    parser.add_argument('--force', action='store_true', help='write over an existing --out')
    add_debug_option(parser)
    return parser


def add_rounds(parser: argparse.ArgumentParser, repeats: int, warmup: int) -> None:
    """Options of measurements that repeat."""
    parser.add_argument('--repeats', type=at_least(1), default=repeats, help='rounds that count (default: %(default)s)')
    parser.add_argument('--warmup', type=at_least(0), default=warmup, help='rounds before them (default: %(default)s)')
    parser.add_argument(
        '--no-memory', action='store_true', help='leave out peak memory, which takes a process per version'
    )


def model_report(argv: Sequence[str]) -> tuple[Report, argparse.Namespace]:
    """``benchmark.py CONFIG``."""
    parser = common_parser('')
    parser.add_argument('config', help='config file, or: text, labelmap, anomaly, vocabulary')
    parser.add_argument('checkpoint', nargs='?', help='weights (default: random ones; time does not depend on them)')
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument(
        '--picture',
        type=at_least(1),
        nargs=2,
        default=PICTURE,
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
    parser.add_argument('--trust', action='store_true', help='read a checkpoint even if that runs code in it')
    add_cfg_options(parser, '--cfg-options')
    add_rounds(parser, repeats=10, warmup=2)
    args = parser.parse_args(argv)
    options = ModelOptions(
        config=args.config,
        checkpoint=args.checkpoint,
        shape=tuple(args.shape) if args.shape else None,
        picture=tuple(args.picture),
        batch_size=args.batch_size,
        device=args.device,
        threads=args.threads,
        vocabulary=args.vocabulary,
        train=args.train,
        overrides=args.cfg_options,
        trust=args.trust,
    )
    against, memory = args.against is not None, not args.no_memory
    return benchmark_model(
        options, against_plain=against, repeats=args.repeats, warmup=args.warmup, memory=memory
    ), args


def text_report(argv: Sequence[str]) -> tuple[Report, argparse.Namespace]:
    """``benchmark.py text``."""
    parser = common_parser('text')
    default = TextOptions()
    parser.add_argument('--model', default=default.model, help='open_clip architecture (default: %(default)s)')
    parser.add_argument('--prompts', type=at_least(1), default=default.prompts, help='how many (default: %(default)s)')
    parser.add_argument('--vocabulary', default=default.vocabulary, help='their words (default: %(default)s)')
    parser.add_argument('--templates', default=default.templates, help='their sentences (default: %(default)s)')
    parser.add_argument(
        '--batch-size', type=at_least(1), default=default.batch_size, help='prompts per pass (default: %(default)s)'
    )
    args = parser.parse_args(argv)
    fields = ('model', 'prompts', 'vocabulary', 'templates', 'batch_size', 'device', 'threads')
    options = TextOptions(**{name: getattr(args, name) for name in fields})
    return benchmark_text(options, against_plain=args.against is not None), args


def label_map_report(argv: Sequence[str]) -> tuple[Report, argparse.Namespace]:
    """``benchmark.py labelmap``."""
    parser = common_parser('labelmap')
    default = LabelMapOptions()
    parser.add_argument('--classes', type=at_least(1), default=default.classes, help='K (default: %(default)s)')
    parser.add_argument(
        '--size', type=at_least(1), nargs=2, default=default.size, metavar=('H', 'W'), help='size of the picture'
    )
    parser.add_argument(
        '--input-size',
        type=at_least(1),
        nargs=2,
        metavar=('H', 'W'),
        help="size of the network's input (default: --size)",
    )
    add_rounds(parser, repeats=5, warmup=1)
    args = parser.parse_args(argv)
    options = LabelMapOptions(
        classes=args.classes,
        size=tuple(args.size),
        input_size=tuple(args.input_size) if args.input_size else None,
        device=args.device,
        threads=args.threads,
    )
    against, memory = args.against is not None, not args.no_memory
    return benchmark_label_map(
        options, against_plain=against, repeats=args.repeats, warmup=args.warmup, memory=memory
    ), args


def anomaly_report(argv: Sequence[str]) -> tuple[Report, argparse.Namespace]:
    """``benchmark.py anomaly``."""
    parser = common_parser('anomaly')
    default = AnomalyOptions()
    parser.add_argument(
        '--pictures', type=at_least(1), default=default.pictures, help='how many maps (default: %(default)s)'
    )
    parser.add_argument(
        '--size', type=at_least(1), nargs=2, default=default.size, metavar=('H', 'W'), help='of the maps'
    )
    parser.add_argument('--repeats', type=at_least(1), default=3, help='rounds that count (default: %(default)s)')
    args = parser.parse_args(argv)
    options = AnomalyOptions(pictures=args.pictures, size=tuple(args.size), threads=args.threads)
    return benchmark_anomaly(options, against_plain=args.against is not None, repeats=args.repeats), args


def vocabulary_report(argv: Sequence[str]) -> tuple[Report, argparse.Namespace]:
    """``benchmark.py vocabulary``."""
    parser = common_parser('vocabulary')
    default = VocabularyOptions('')
    parser.add_argument('config', help='config of an open-vocabulary segmentor')
    parser.add_argument('--vocabulary', default=default.vocabulary, help='names to change to (default: %(default)s)')
    parser.add_argument(
        '--start', type=int, default=default.start, help='how many of them there are before (default: %(default)s)'
    )
    parser.add_argument(
        '--unknown', type=int, default=default.unknown, help='new ones where most are known (default: %(default)s)'
    )
    add_cfg_options(parser, '--cfg-options')
    args = parser.parse_args(argv)
    fields = ('config', 'vocabulary', 'start', 'unknown', 'device', 'threads')
    options = VocabularyOptions(**{name: getattr(args, name) for name in fields}, overrides=args.cfg_options)
    return benchmark_vocabulary(options), args


@program
def main(argv: list[str]) -> int:
    """Measure, print, and say by the exit code whether both versions agree."""
    argv = list(sys.argv[1:] if argv is None else argv)
    parts = {
        'text': text_report,
        'labelmap': label_map_report,
        'anomaly': anomaly_report,
        'vocabulary': vocabulary_report,
    }
    report, args = parts[argv[0]](argv[1:]) if argv and argv[0] in parts else model_report(argv)
    report.command = ' '.join(['python tools/benchmark.py', *argv])
    print(report.markdown())
    if args.out:
        if Path(args.out).exists() and not args.force:
            raise OptionError(f"--out '{args.out}' exists: choose another name, or pass --force to write over it")
        report.write(args.out)
    return 1 if report.equal is False else 0


if __name__ == '__main__':
    sys.exit(main())
