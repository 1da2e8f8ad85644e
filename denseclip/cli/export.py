"""``denseclip export``: a model as files that run without PyTorch."""

from __future__ import annotations

import argparse
import warnings
from typing import TYPE_CHECKING

from denseclip.apis.errors import UserError
from denseclip.cli.options import (
    WEIGHTS,
    add_class_options,
    add_clip_options,
    add_dino_option,
    add_trust,
    given_classes,
)
from denseclip.export.formats import FORMATS

if TYPE_CHECKING:
    from denseclip.apis.catalogue import ModelCard
    from denseclip.apis.predictor import Predictor
    from denseclip.clip.vocabulary import Vocabulary

_SOME = 'thing; background'

HELP = 'write a model as files that run without PyTorch'
EPILOG = (
    'examples:\n'
    '  denseclip export --out exported\n'
    '  denseclip export maskclip --pretrained ViT-B-16.pt --out exported\n'
    '  denseclip segment street.jpg --runtime exported --classes "road; car; sky" --out results'
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Words and options of the command."""
    parser.add_argument(
        'model',
        nargs='?',
        metavar='MODEL',
        help='a name that `denseclip models` shows, or a config (default: the bundled model)',
    )
    parser.add_argument('--model', dest='named', metavar='NAME', help='the same as MODEL, as other commands have it')
    parser.add_argument('--config', metavar='FILE', help='config of the model; the same, too')
    parser.add_argument('--weights', metavar='FILE', help=WEIGHTS)
    add_clip_options(parser, 'a preset')
    add_dino_option(parser)
    parser.add_argument('--to', choices=tuple(FORMATS), default='onnx', help='kind of files (%(default)s)')
    add_class_options(parser, 'words to put into the export instead of the text tower; by default words stay free')
    parser.add_argument(
        '--precision',
        choices=('fp32', 'fp16', 'int8'),
        default='fp32',
        help='of the picture side; what a lower one costs is printed (%(default)s)',
    )
    parser.add_argument(
        '--calibrate', metavar='FOLDER', help='pictures that a lower precision is fitted to and compared on'
    )
    parser.add_argument('--out', required=True, metavar='DIR', help='folder for the files')
    parser.add_argument('--force', action='store_true', help='overwrite an earlier export')
    add_trust(parser)


def run(args: argparse.Namespace) -> int:
    """Write the files, and say what comparing them with PyTorch showed."""
    from denseclip.compat.versions import require_host_stack

    require_host_stack('denseclip export')
    from denseclip.apis.catalogue import one_of
    from denseclip.apis.detector import Detector
    from denseclip.cli.progress import busy
    from denseclip.export.precision import check_precision
    from denseclip.export.run import describe, export
    from denseclip.files.names import shown

    args.model = one_of(MODEL=args.model, **{'--model': args.named, '--config': args.config})
    if args.model is None and args.weights is not None:
        raise UserError('--weights are of which model? Name it: `denseclip export MODEL --weights FILE --out DIR`.')
    FORMATS[args.to].check_packages()  # before a model is loaded
    check_precision(args.precision, args.calibrate, args.to)
    words = given_classes(args)
    card = _card(args.model)
    with warnings.catch_warnings():
        # Advice to MMSegmentation's developers.
        warnings.filterwarnings('ignore', category=UserWarning, module=r'mmseg\.')
        with busy('loading the model'):
            model = _load(args, card, words)
        with busy('writing graphs and comparing them with PyTorch, which takes a minute or two'):
            own = card is None or card.kind != 'preset'
            folder = export(
                model,
                args.out,
                args.to,
                words,
                own_words=own,
                precision=args.precision,
                calibrate=args.calibrate,
                force=args.force,
            )
    print(describe(folder))
    if model.task == 'anomaly':
        print(f'next: denseclip anomaly shots/ --runtime {shown(folder)} --object "metal nut" --out inspection')
        return 0
    if isinstance(model, Detector):
        print(f'next: denseclip detect smear.jpg --runtime {shown(folder)} --out found')
        return 0
    classes = '' if own or words is not None else ' --classes "road; car; sky"'
    print(f'next: denseclip segment street.jpg --runtime {shown(folder)}{classes} --out results')
    return 0


def _card(name: str | None) -> ModelCard | None:
    """What is known of a model that is named; None of a config and of the bundled model.

    Raises:
        ExportError: If it cannot be exported; weights are not fetched for that.
        UserError: If there is no such model.
    """
    from denseclip.apis.catalogue import find_card, is_shared, list_models
    from denseclip.apis.config import inference_config
    from denseclip.export.capabilities import refuse
    from denseclip.files.shipped import config_file

    if name is None or is_shared(name):
        return None
    config = config_file(name)
    if config.suffix and name not in {card.name for card in list_models()}:
        refuse(inference_config(str(config)).model.type)
        return None
    card = find_card(name)
    refuse(card.model, card.reason)
    return card


def _load(args: argparse.Namespace, card: ModelCard | None, words: Vocabulary | None) -> Predictor:
    from denseclip.apis.catalogue import is_shared
    from denseclip.apis.loading import load_model
    from denseclip.files.shipped import config_file

    by_name = card is not None or args.model is None or is_shared(args.model)
    name = args.model if by_name else str(config_file(args.model))
    # A preset is built with some words; they stay out of the export.
    some = _SOME if card is not None and card.kind == 'preset' and words is None else words
    return load_model(
        name,
        weights=args.weights,
        clip=args.clip,
        pretrained=args.pretrained,
        dino=args.dino,
        words=some,
        device='cpu',
        trust=args.trust,
    )
