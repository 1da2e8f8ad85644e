"""``denseclip detect``: objects with boxes and masks."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from denseclip.apis.errors import UserError
from denseclip.cli.options import add_batch_option, add_model_options, add_output_options, model_arguments
from denseclip.cli.pictures import run_pictures
from denseclip.cli.runtime_option import add_runtime_option, load_detector_runtime
from denseclip.cli.talk import use_host

if TYPE_CHECKING:
    from denseclip.apis.predictor import Predictor

HELP = 'find objects in pictures, with boxes and masks'
EPILOG = 'example: denseclip detect smear.jpg --config bccd.py --weights bccd.safetensors --out found'


def add_options(parser: argparse.ArgumentParser) -> None:
    """Words and options of the command."""
    parser.add_argument('images', nargs='+', metavar='IMAGE', help='pictures, folders of pictures, or quoted patterns')
    add_model_options(parser, 'none; name one here or with --config')
    parser.add_argument('--score', type=float, default=0.3, help='least confidence of an object (default: 0.3)')
    add_runtime_option(parser)
    add_batch_option(parser)
    add_output_options(parser)
    parser.set_defaults(lean=True)


def run(args: argparse.Namespace) -> int:
    """Results of every picture that can be read, then a list of those that cannot; exit code 2 if there are any."""
    from denseclip.compat.versions import require_host_stack

    if not 0 <= args.score <= 1:
        raise UserError(f'--score {args.score:g} must be between 0 and 1.')
    if args.model is None and args.config is None and args.runtime is None:
        raise UserError('say which detector: its config with --config FILE, and its checkpoint with --weights FILE.')
    if args.runtime is None:
        require_host_stack('denseclip detect')
    return run_pictures(args, 'instance', lambda: load_detector(args))


def load_detector(args: argparse.Namespace) -> Predictor:
    """The detector that the options name.

    Raises:
        ImportError: If the host stack is not installed.
        UserError: If the model cannot be used, or finds no boxes.
    """
    if args.runtime is not None:
        return load_detector_runtime(args)
    use_host('denseclip detect')
    from denseclip.apis.detector import Detector
    from denseclip.apis.loading import load_model

    model = load_model(args.model, **model_arguments(args))
    if not isinstance(model, Detector):
        raise UserError(
            f"{type(model.model).__name__} finds no boxes; use 'denseclip segment' for segmentation models."
        )
    return model
