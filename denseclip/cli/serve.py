"""``denseclip serve``: a model over HTTP, with a page for people."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from denseclip.apis.methods import SEGMENTATION_TASKS
from denseclip.cli.options import (
    add_class_options,
    add_clip_options,
    add_dino_option,
    add_masks_option,
    add_model_options,
    given_classes,
    model_arguments,
)
from denseclip.cli.talk import is_quiet, use_host
from denseclip.files.names import shown

if TYPE_CHECKING:
    from denseclip.apis.predictor import Predictor
    from denseclip.clip.vocabulary import Vocabulary

_SOME = 'thing; background'
_BUNDLED = 'bundled model'
TOKEN = 'DENSECLIP_TOKEN'
HELP = 'answer pictures and words over HTTP, with a page for people'
EPILOG = (
    'examples:\n'
    '  denseclip serve\n'
    '  denseclip serve --model sclip --pretrained ViT-B-16.pt --port 9000\n'
    '  DENSECLIP_TOKEN=... denseclip serve --runtime exported --host 0.0.0.0\n'
    '  curl -F image=@street.jpg --form-string "words=road; car; sky" http://127.0.0.1:8000/segment'
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Words and options of the command."""
    add_model_options(parser, 'the bundled model')
    add_clip_options(parser, 'a preset or an anomaly model')
    add_dino_option(parser)
    add_masks_option(parser)
    parser.add_argument('--runtime', metavar='DIR', help="a model of 'denseclip export', run without PyTorch")
    parser.add_argument(
        '--beside',
        nargs='+',
        default=(),
        metavar='NAME',
        help='further models that label pixels, to compare on the page',
    )
    add_class_options(parser, 'words of requests without any (default: of the model)')
    parser.add_argument('--task', choices=SEGMENTATION_TASKS, help='usual results of a model that gives several kinds')
    parser.add_argument('--host', default='127.0.0.1', help='address to listen on (default: this machine alone)')
    parser.add_argument('--port', type=int, default=8000, help='0 takes any that is free (default: %(default)s)')
    parser.add_argument('--token', help=f'what requests must bring (default: the variable {TOKEN}, else nothing)')
    parser.add_argument('--no-token', action='store_true', help='let other machines ask without a token')
    limits = parser.add_argument_group('limits')
    limits.add_argument('--max-megabytes', type=float, default=20, metavar='N', help='of a request (%(default)s)')
    limits.add_argument('--max-megapixels', type=float, default=25, metavar='N', help='of a picture (%(default)s)')
    limits.add_argument('--max-words', type=int, default=300, metavar='N', help='names in a request (%(default)s)')
    limits.add_argument('--queue', type=int, default=64, metavar='N', help='requests at a time (%(default)s)')
    limits.add_argument('--timeout', type=float, default=60, metavar='SECONDS', help='of a request (%(default)s)')
    limits.add_argument(
        '--batch-size', type=int, default=8, metavar='N', help='like requests that run together (%(default)s)'
    )
    parser.set_defaults(lean=True)


def run(args: argparse.Namespace) -> int:
    """Serve until the command is stopped."""
    from denseclip.cli.pictures import load_aloud
    from denseclip.compat.versions import require_host_stack
    from denseclip.serving.limits import Limits
    from denseclip.serving.server import address_of, bound, check_packages, check_place, serve

    check_packages()
    _check_masks(args.masks)
    limits = Limits(args.max_megabytes, args.max_megapixels, args.max_words, args.queue, args.timeout, args.batch_size)
    token = args.token if args.token is not None else os.environ.get(TOKEN) or None
    check_place(args.host, args.port, token, args.no_token)
    if args.runtime is None:
        require_host_stack('denseclip serve')
    words = given_classes(args)
    needs_words = _brings_none(args, words)
    name, titles = public_name(args.runtime or args.model or args.config), [public_name(one) for one in args.beside]
    _check_names(name, titles)
    with bound(args.host, args.port) as place:  # taken before a model is loaded for nothing
        model = load_aloud(lambda: _load(args, words))
        others = {
            shown(title): load_aloud(partial(_load, args, words, other))
            for title, other in zip(titles, args.beside, strict=True)
        }
        free = 'a request brings words' if needs_words else ''
        print(f'{shown(name)}: {model.task}' + (f'; {free}' if free else ''))
        for other in others:
            print(f'beside it: {other}')
        for what, path in (('page', ''), ('schema', 'openapi.json')):
            print(f'{what:<7}  {address_of(place)}{path}')
        print('Ctrl-C stops it; requests that have begun are answered first.', flush=True)
        level = 'error' if is_quiet() else 'info'
        serve(model, shown(name), place, limits, token, needs_words=needs_words, beside=others, log_level=level)
    return 0


def public_name(name: str | None) -> str:
    """What everybody who asks may know of a model: its name, not where it lies on this machine."""
    if name is None:
        return _BUNDLED
    return name if name.startswith('hf-hub:') else Path(name.removeprefix('local-dir:')).resolve().name


def _brings_none(args: argparse.Namespace, words: Vocabulary | None) -> bool:
    """Whether the model has no words of its own; presets are built with some that mean nothing."""
    return words is None and _is_preset(args.model)


def _is_preset(name: str | None) -> bool:
    from denseclip.apis.catalogue import find_card, is_config

    return name is not None and not is_config(name) and find_card(name).kind == 'preset'


def _check_names(name: str, beside: Sequence[str]) -> None:
    """Refuse models of one name, which no request could tell apart.

    Raises:
        UserError: Then.
    """
    from denseclip.apis.errors import UserError

    names = [name, *beside]
    twice = next((one for one in names if names.count(one) > 1), None)
    if twice is not None:
        raise UserError(f"--beside: two models are called '{shown(twice)}'; name each once.")


def _check_masks(source: str | None) -> None:
    """Refuse masks that are found by the names of pictures.

    Raises:
        UserError: Then.
    """
    from denseclip.apis.errors import UserError

    if source is not None and Path(source).is_dir():
        raise UserError(
            '--masks FOLDER finds masks by the names of pictures, and those of requests have none: take superpixels, '
            'sam:FILE or sam:FOLDER.'
        )


def _load(args: argparse.Namespace, words: Vocabulary | None, beside: str | None = None) -> Predictor:
    """The model that the options name, or another one to stand beside it."""
    if args.runtime is not None:
        from denseclip.cli.runtime_option import check_others
        from denseclip.runtime.loading import load
        from denseclip.runtime.manifest import Manifest

        folder = args.runtime if beside is None else beside
        check_others(args, Manifest.read(folder), ('task',))
        return load(folder, words, trust=args.trust, precision=args.precision)
    use_host('denseclip serve')
    from denseclip.apis.loading import load_model

    some: Any = _SOME if _brings_none(args, words) else words
    given = {**model_arguments(args), **_networks(args, beside)}
    if beside is not None:
        return load_model(beside, words=some or _SOME, **{**given, 'config': None, 'weights': None})
    return load_model(args.model, words=some, **given)


def _networks(args: argparse.Namespace, beside: str | None) -> dict[str, str | None]:
    """``--clip``, ``--pretrained``, ``--dino`` and ``--masks`` for those of several models that take them.

    What none of them takes is left to the first, which says so.
    """
    names = (args.model, *args.beside)
    name = args.model if beside is None else beside
    found = {}
    for option in ('clip', 'pretrained', 'dino', 'masks'):
        takers = [one for one in names if option in _takes(one)]
        found[option] = getattr(args, option) if name in takers or not (takers or beside) else None
    return found


def _takes(name: str | None) -> tuple[str, ...]:
    from denseclip.apis.catalogue import find_card, is_config

    return () if name is None or is_config(name) else find_card(name).takes
