"""Options that commands share, and what they mean to ``load_model``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from denseclip.apis.batch_sizes import AUTO
from denseclip.apis.errors import UserError
from denseclip.apis.methods import MASK_SOURCES
from denseclip.apis.results.formats import format_lines
from denseclip.files.names import shown

if TYPE_CHECKING:
    from denseclip.clip.vocabulary import Vocabulary

PRECISIONS = ('fp32', 'bf16', 'fp16', 'int8-dynamic')
LAYOUTS = ('auto', 'contiguous', 'channels_last')
"""As :mod:`denseclip.engine.compute` has them, which takes seconds to load."""
WEIGHTS = 'checkpoint of the model: file, hf-hub:, local-dir:, package:'


def common_options() -> argparse.ArgumentParser:
    """Options of every command."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument('--debug', action='store_true', help='show a traceback when something fails')
    loudness = common.add_mutually_exclusive_group()
    loudness.add_argument('-q', '--quiet', action='store_true', help='say nothing but errors')
    loudness.add_argument(
        '-v', '--verbose', action='store_true', help='also say what is loaded, how long it takes, and what is logged'
    )
    return common


def add_model_options(parser: argparse.ArgumentParser, default: str) -> None:
    """Which model, where its weights are, where and how it runs.

    Args:
        parser: Gets the options.
        default: The model where none is named, in words.
    """
    parser.add_argument(
        '--model',
        metavar='NAME',
        help=f'a name that `denseclip models` shows, or a config (default: {default})',
    )
    parser.add_argument('--config', metavar='FILE', help='config of the model')
    parser.add_argument('--weights', metavar='FILE', help=f"{WEIGHTS} (default: the config's load_from)")
    parser.add_argument('--device', metavar='DEVICE', help='such as cpu or cuda:0 (default: CUDA where there is any)')
    add_compute_options(parser)
    parser.add_argument(
        '--trust',
        action='store_true',
        help='read weights, or an export --to torch, even if that runs code from the file',
    )


def add_compute_options(parser: argparse.ArgumentParser, training: bool = False) -> None:
    """How a model computes; see :class:`denseclip.engine.compute.Compute`.

    Args:
        parser: Gets the options.
        training: Whether the command trains alone.
    """
    parser.add_argument(
        '--precision',
        choices=PRECISIONS[:3] if training else PRECISIONS,
        default=None if training else 'fp32',
        help='what the model computes in: fp32, bf16, fp16 (GPUs alone) (default: as the config says, else fp32)'
        if training
        else 'what the model computes in: fp32 (default), bf16, fp16 (GPUs alone), int8-dynamic (transformers on CPUs)',
    )
    parser.add_argument(
        '--layout',
        choices=LAYOUTS,
        default='auto',
        help='memory layout of convolutions (default: auto, channels last where it is faster in 16 bits)',
    )
    parser.add_argument(
        '--compile',
        nargs='?',
        const=True,
        default=False,
        metavar='BACKEND',
        help='make graphs of blocks, layers and heads with torch.compile, which takes a minute or more at the start '
        '(backend: inductor)',
    )


def add_class_options(parser: argparse.ArgumentParser, what: str, *names: str) -> None:
    """``--classes`` and ``--classes-file``, of which one may be given.

    Args:
        parser: Gets the options.
        what: What the classes are for, in words.
        *names: Further names of ``--classes``.
    """
    words = parser.add_mutually_exclusive_group()
    words.add_argument(*names, '--classes', dest='classes', metavar='TEXT', help=what)
    words.add_argument('--classes-file', metavar='FILE', help='text with one class a line, JSON, YAML or CSV')


def given_classes(args: argparse.Namespace) -> Vocabulary | None:
    """The classes that :func:`add_class_options` names; how they were read is said where that is not plain.

    Raises:
        VocabularyError: If they cannot be used.
    """
    from denseclip.clip.vocabulary import file_vocabulary, typed_vocabulary

    if args.classes is None and args.classes_file is None:
        return None
    found, notes = typed_vocabulary(args.classes) if args.classes is not None else file_vocabulary(args.classes_file)
    for note in notes:
        print(f'note: {shown(note)}')
    return found


def add_grad_checkpointing(parser: argparse.ArgumentParser) -> None:
    """Memory of a training step; see :class:`denseclip.engine.compute.Compute`."""
    parser.add_argument(
        '--grad-checkpointing',
        action='store_true',
        help='in training, keep only the inputs of blocks, layers and heads and compute the rest again in the backward '
        'pass: less memory, about a third more time, the same gradients',
    )


def add_clip_options(parser: argparse.ArgumentParser, of_what: str) -> None:
    """Another CLIP.

    Args:
        parser: Gets the options.
        of_what: Whose CLIP it is, in words.
    """
    parser.add_argument(
        '--clip', metavar='MODEL', help=f'CLIP of {of_what}: open_clip architecture, hf-hub:, local-dir:'
    )
    parser.add_argument(
        '--pretrained', metavar='TAG', help="CLIP's weights: a tag of open_clip or a file (default: OpenAI's, fetched)"
    )


def add_dino_option(parser: argparse.ArgumentParser) -> None:
    """The other network of some presets."""
    parser.add_argument(
        '--dino',
        metavar='WEIGHTS',
        help='self-supervised network of a preset that takes one (proxyclip, corrclip, cass, lposs, trident): a file, '
        'ARCHITECTURE=FILE (a name of timm), local-dir:FOLDER',
    )


def add_masks_option(parser: Any) -> None:
    """Where masks come from, for a parser or a group of one."""
    parser.add_argument(
        '--masks',
        metavar='SOURCE',
        help=f'where masks come from: {MASK_SOURCES} (default: model; others need no --weights, CLIP '
        'decides). The presets that take regions (corrclip) have them from there, too; trident asks sam:FILE or '
        'sam:FOLDER',
    )


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """Where results go and in which forms."""
    parser.add_argument('--out', metavar='DIR', help='folder for the results; not needed with --json')
    parser.add_argument('--force', action='store_true', help='overwrite earlier results')
    parser.add_argument(
        '--formats',
        metavar='NAMES',
        help=f'files to write, separated by ","; "usual" stands for those written by default. {format_lines()}',
    )
    add_json_option(parser, 'a line of JSON for each picture on standard output, and nothing else there')


def add_json_option(parser: argparse.ArgumentParser, what: str) -> None:
    """``--json``: standard output is for programs."""
    parser.add_argument('--json', action='store_true', help=what)


def check_output(args: argparse.Namespace) -> None:
    """Refuse a run whose results would go nowhere.

    Raises:
        UserError: Without a folder for the results; or formats for no folder.
    """
    if args.out is None and not args.json:
        raise UserError('say where the results go: --out DIR, or --json for standard output.')
    if args.out is None and args.formats is not None:
        raise UserError('--formats are files: say where they go with --out DIR.')


def model_arguments(args: argparse.Namespace) -> dict[str, Any]:
    """Arguments of ``load_model`` that these options mean; of those that a command has not, none."""
    names = ('clip', 'pretrained', 'dino', 'things', 'task', 'score', 'masks', 'stage', 'head', 'unknown')
    found = {name: getattr(args, name) for name in names if hasattr(args, name)}
    shared = ('config', 'weights', 'device', 'precision', 'layout', 'compile', 'trust')
    return {**found, **{name: getattr(args, name) for name in shared}}


def add_config(parser: argparse.ArgumentParser, about: str = 'config file') -> None:
    """Give a parser the word ``CONFIG``."""
    parser.add_argument('config', help=f'{about}, or the name of one that comes with the package (denseclip config)')


def add_launcher(parser: argparse.ArgumentParser) -> None:
    """Give a parser what runs over several processes and with a log take."""
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help='set by the launcher')
    if parser.get_default('verbose') is None:  # as a word of `denseclip` it has that option already
        parser.add_argument('--verbose', action='store_true', help='show config and environment on the terminal, too')


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Give a parser ``--trust``."""
    parser.add_argument(
        '--trust',
        action='store_true',
        help='read a checkpoint even if that runs code in it; only for authors you trust',
    )


def batch_size(text: str) -> int | str:
    """Type of ``--batch-size``, for ``argparse``."""
    if text == AUTO:
        return AUTO
    try:
        value = int(text)
    except ValueError:
        value = 0
    if not 1 <= value <= 4096:
        raise argparse.ArgumentTypeError(f'takes a whole number of at least 1, or {AUTO}, got {text!r}')
    return value


def add_batch_option(parser: argparse.ArgumentParser, default: int | str = 1) -> None:
    """``--batch-size``."""
    parser.add_argument(
        '--batch-size',
        type=batch_size,
        default=default,
        metavar='N',
        help='pictures of one shape that run together; auto finds what is fastest while they run (default: '
        '%(default)s)',
    )
