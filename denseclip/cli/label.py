"""``denseclip label``: from a folder of pictures and a line of words to a labelled data set."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from denseclip.apis.batch_sizes import AUTO, BatchSize
from denseclip.apis.errors import UserError, check_share
from denseclip.cli import label_cluster
from denseclip.cli.options import (
    add_batch_option,
    add_clip_options,
    add_dino_option,
    add_json_option,
    add_model_options,
    model_arguments,
)
from denseclip.cli.programs import EXIT_ERROR
from denseclip.cli.segment import (
    add_head_option,
    add_mask_options,
    add_score_options,
    add_word_options,
    check_scores,
    model_name,
    vocabulary_from_args,
)
from denseclip.cli.talk import emit, note_left_out, use_host
from denseclip.files.names import readable, shown

if TYPE_CHECKING:
    from denseclip.apis.labelling.folder import Labelled
    from denseclip.apis.predictor import Predictor
    from denseclip.clip.vocabulary import Vocabulary

HELP = 'label a folder of pictures by words, as a data set to correct and to train on'
EPILOG = (
    'example: denseclip label shots/ --words "road; car=automobile; sky" --out labelled --to coco\n'
    'The same command goes on where it was stopped.'
)
LAYOUTS = ('coco', 'yolo', 'voc', 'masks', 'labelme', 'cvat', 'datumaro', 'label-studio', 'fiftyone')
PICTURES = ('link', 'copy', 'none')
_SHOWN = 10  # pictures that cannot be read, before a file says the rest
_OF_MODEL = (
    'config',
    'weights',
    'precision',
    'clip',
    'pretrained',
    'dino',
    'things',
    'task',
    'score',
    'masks',
    'stage',
    'runtime',
    'head',
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Words and options of the command."""
    parser.set_defaults(lean=True)
    parser.add_argument('folder', nargs='+', metavar='SRC', help='a folder of pictures, in folders of any depth')
    add_word_options(parser, '--words')
    parser.add_argument('--out', required=True, metavar='DIR', help='folder for the labels; one that was begun goes on')
    parser.add_argument('--to', choices=LAYOUTS, help='layout of the labels (default: coco)')
    parser.add_argument(
        '--split-regions', action='store_true', help='make every connected region of a class an object of its own'
    )
    parser.add_argument(
        '--tolerance',
        type=float,
        default=0.0,
        metavar='PIXELS',
        help='how far polygons may run from the edges of pixels (default: 0, exact; coco: run lengths then)',
    )
    parser.add_argument('--pictures', choices=PICTURES, help='how pictures come into the folder (default: link)')
    parser.add_argument(
        '--confidences',
        action='store_true',
        help='with --to masks or --engine ray: also write how sure the model is of each pixel',
    )
    add_score_options(parser)
    add_model_options(parser, 'the bundled model')
    parser.add_argument('--preset', metavar='NAME', help='a training-free method on a CLIP model; the same as --model')
    add_clip_options(parser, 'the preset, or of ovseg with --masks from elsewhere')
    add_dino_option(parser)
    add_head_option(parser)
    add_mask_options(parser)
    parser.add_argument(
        '--runtime', metavar='DIR', help="a model of 'denseclip export', run without PyTorch, instead of --model"
    )
    add_batch_option(parser, AUTO)
    add_json_option(parser, 'a line of JSON about the folder on standard output, and nothing else there')
    label_cluster.add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Label what is not labelled yet, and say what there is; exit code 2 if a picture could not be read."""
    from denseclip.compat.versions import require_host_stack

    check_share('--min-confidence', args.min_confidence)
    check_share('--min-area', args.min_area)
    label_cluster.check_options(args)
    if args.from_shards:
        label_cluster.check_collecting(args, add_options)
    check_scores(args)
    if args.runtime is not None and args.head is not None:
        raise UserError('--head goes with a model, not with --runtime: leave one of them out.')
    if args.runtime is None:
        require_host_stack('denseclip label')
    else:
        from denseclip.runtime.inspection import do_without_torch

        do_without_torch()
    name = model_name(args)
    vocabulary = vocabulary_from_args(args)

    from denseclip.apis.labelling.folder import Order, label_folder
    from denseclip.apis.labelling.objects import Rules
    from denseclip.cli.pictures import load_aloud
    from denseclip.cli.progress import track

    order = Order(
        args.to or 'coco',
        Rules(args.split_regions, args.min_confidence, args.min_area),
        args.tolerance,
        args.pictures or 'link',
        args.confidences,
        _named(args, name),
    )
    if args.from_shards:
        label_cluster.need_tables()
        from denseclip.apis.labelling.cluster.collect import collect

        return _say(args, collect(args.folder[0], args.out, order))
    note_left_out(args.folder, deep=True)
    if args.engine == 'ray':
        return label_cluster.run_ray(args, name, vocabulary, dict(order.model), order.rules, load_teacher)

    if files := label_cluster.files_of(args):
        order = replace(order, model={**order.model, 'files': files})

    def load() -> Predictor:
        model = load_aloud(lambda: load_teacher(args, name, vocabulary))
        words: Any = getattr(model, 'vocabulary', None)
        if words is not None and not args.json:
            print(words.describe())
        return model

    found = label_folder(
        args.folder[0],
        args.out,
        load,
        order,
        batch=BatchSize(args.batch_size),
        track=lambda items, total: track(items, total, 'labelling'),
    )
    return _say(args, found)


def load_teacher(args: argparse.Namespace, name: str | None, vocabulary: Vocabulary | None) -> Predictor:
    """The model that the options name.

    Raises:
        ImportError: If the host stack is not installed.
        UserError: If the model cannot be used.
    """
    if args.runtime is not None:
        from denseclip.cli.runtime_option import load_runtime

        return load_runtime(args, vocabulary)
    use_host('denseclip label')
    from denseclip.apis.loading import load_model

    return load_model(name, words=vocabulary, **model_arguments(args))


def _named(args: argparse.Namespace, name: str | None) -> dict[str, Any]:
    """Options that name the model and how it computes, of those that were given."""
    given = {key: getattr(args, key) for key in _OF_MODEL}
    return {'model': name} | {key: value for key, value in given.items() if value is not None}


def _say(args: argparse.Namespace, found: Labelled) -> int:
    """Say what there is; returns the exit code."""
    code = EXIT_ERROR if found.failures else 0
    failed, total = len(found.failures), len(found.records) + len(found.failures)
    if args.json:
        emit(
            args.output,
            {
                'folder': readable(found.folder),
                'layout': found.run.layout,
                'pictures': len(found.records),
                'new': found.new,
                'objects': found.counts(),
                'failures': [{'picture': picture, 'reason': reason} for picture, reason in found.failures],
            },
        )
        return code
    counts = found.counts()
    kinds = ', '.join(f'{shown(name)} {count:,}' for name, count in counts.items())
    earlier = len(found.records) - found.new
    print(f'labelled: {len(found.records):,} of {total:,} pictures' + (f', {earlier:,} of them before' * bool(earlier)))
    print(f'  {sum(counts.values()):,} objects' + (f': {kinds}' * bool(kinds)))
    print(f'  as {found.run.layout}: {shown(found.folder)}')
    if not failed:
        return code
    sys.stderr.write(
        f'denseclip: error: {failed} of {total} pictures failed, see {shown(found.folder)}/failures.csv:\n'
    )
    sys.stderr.writelines(f'  {shown(reason)}\n' for _, reason in found.failures[:_SHOWN])
    return code
