"""The ``denseclip`` command.

Errors that a user can cure are one line on standard error and exit code 2; ``--debug`` shows where they arose.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from denseclip.apis import anomaly_cli, detect_cli, miniworld_cli, new_dataset_cli
from denseclip.apis.errors import EXIT_ERROR, UserError, check_share, report_failures
from denseclip.apis.mask_methods import (
    MASK_CONFIGS,
    add_mask_options,
    format_masks,
    load_mask_inferencer,
    result_suffixes,
)
from denseclip.apis.methods import add_method_options, load_method
from denseclip.apis.output import shown_output
from denseclip.apis.programs import explain
from denseclip.cli import COMMANDS
from denseclip.cli.doors import add_command
from denseclip.files.names import shown
from denseclip.version import __version__

if TYPE_CHECKING:
    from denseclip.apis.inferencer import Inferencer
    from denseclip.clip.vocabulary import Vocabulary

DEFAULT_BACKGROUND_NAMES = ('background', 'something else')
_EXAMPLE = 'example: denseclip segment street.jpg --classes "road; car=automobile,vehicle; sky" --out results'


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: arguments after the program's name; by default those of the process.

    Returns:
        Exit code: 0 on success, 2 when something could not be done, 130 after Ctrl-C.
    """
    with shown_output():
        return _run(argv)


def _run(argv: Sequence[str] | None) -> int:
    """Read the arguments and do what they say."""
    parser = build_parser()
    args = parser.parse_args(argv)
    args.typed = shlex.join(['denseclip', *(sys.argv[1:] if argv is None else argv)])
    if args.run is None:
        parser.print_help(sys.stderr)
        return EXIT_ERROR
    try:
        return args.run(args)
    except (Exception, KeyboardInterrupt) as error:
        if args.debug and isinstance(error, Exception):
            raise
        return explain(error, 'denseclip')[1]


def build_parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument('--debug', action='store_true', help='show a traceback when something fails')
    parser = argparse.ArgumentParser(
        prog='denseclip', description='Dense prediction with CLIP: pictures, labelled by words.'
    )
    parser.add_argument('--version', action='version', version=f'denseclip {__version__}')
    parser.set_defaults(run=None, debug=False)
    commands = parser.add_subparsers(title='commands', metavar='COMMAND')
    segment = commands.add_parser(
        'segment', parents=[common], help='label the pixels of pictures by words', epilog=_EXAMPLE
    )
    _add_segment_options(segment)
    segment.set_defaults(run=run_segment)
    detect_cli.add_parser(commands, common)
    anomaly_cli.add_parser(commands, common)
    miniworld_cli.add_parser(commands, common)
    new_dataset_cli.add_parser(commands, common)
    for name, module in COMMANDS.items():
        add_command(commands, common, module, name)
    doctor = commands.add_parser('doctor', parents=[common], help='say what is installed and what is missing')
    doctor.set_defaults(run=run_doctor)
    return parser


def _add_segment_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('images', nargs='+', metavar='IMAGE', help='pictures, folders of pictures, or quoted patterns')
    words = parser.add_mutually_exclusive_group()
    words.add_argument(
        '--classes',
        metavar='TEXT',
        help='classes separated by ";", further names of a class after "=" separated by ",", '
        'the name of a list (ade20k, camvid, coco, ...), or the path of one; by default the words of the model',
    )
    words.add_argument('--classes-file', metavar='FILE', help='text with one class a line, JSON, YAML or CSV')
    parser.add_argument(
        '--background',
        choices=('none', 'prompts', 'threshold'),
        default='none',
        help='pixels of no class: none (each gets a class, the default), prompts (one more class with words of its '
        'own), threshold (where the best score is low; not every model can do this)',
    )
    parser.add_argument(
        '--background-names',
        metavar='WORDS',
        help=f'words of the background, separated by ","; implies --background prompts '
        f'(default there: {", ".join(DEFAULT_BACKGROUND_NAMES)})',
    )
    parser.add_argument('--threshold', type=float, metavar='SCORE', help='for --background threshold')
    parser.add_argument('--config', metavar='FILE', help='config of the model (default: the bundled model)')
    parser.add_argument(
        '--weights', metavar='FILE', help='checkpoint of the model: file, hf-hub:, local-dir:, package:'
    )
    parser.add_argument(
        '--preset',
        metavar='NAME',
        help='a training-free method on a CLIP model instead of --config: maskclip, sclip, clearclip, naclip, ...; '
        'needs --classes',
    )
    parser.add_argument(
        '--clip',
        metavar='MODEL',
        help='CLIP of the preset: open_clip architecture, hf-hub:, local-dir: (default: ViT-B-16)',
    )
    parser.add_argument(
        '--pretrained', metavar='TAG', help="its weights: a tag of open_clip or a file (default: OpenAI's, fetched)"
    )
    parser.add_argument(
        '--min-confidence',
        type=float,
        metavar='P',
        help='leave out classes (segments, objects) whose score is lower, 0..1; see the table. Pixels go to the '
        'next best class that is left',
    )
    parser.add_argument(
        '--min-area',
        type=float,
        metavar='SHARE',
        help='leave out classes (segments, objects) that cover less of the picture, 0..1',
    )
    add_mask_options(parser)
    add_method_options(parser)
    parser.add_argument('--device', metavar='DEVICE', help='such as cpu or cuda:0 (default: CUDA where there is any)')
    parser.add_argument('--trust', action='store_true', help='read weights even if that runs code from the file')
    parser.add_argument('--out', required=True, metavar='DIR', help='folder for the results')
    parser.add_argument('--force', action='store_true', help='overwrite earlier results')


def run_doctor(args: argparse.Namespace) -> int:
    """``denseclip doctor``."""
    from denseclip.apis.doctor import run_doctor as examine

    return examine()


def run_segment(args: argparse.Namespace) -> int:
    """``denseclip segment``: results of every picture that can be read, then a list of those that cannot."""
    from denseclip.apis.files import prepare_folder
    from denseclip.apis.images import UnreadableImageError
    from denseclip.apis.inputs import expand_inputs
    from denseclip.apis.progress import busy, track
    from denseclip.files.stems import output_stems

    check_share('--min-confidence', args.min_confidence)
    check_share('--min-area', args.min_area)
    vocabulary = vocabulary_from_args(args)
    if vocabulary is not None:
        print(vocabulary.describe())
    paths = expand_inputs(args.images)
    stems = output_stems(paths)
    suffixes = result_suffixes(args.task)
    folder = prepare_folder(args.out, [stem + suffix for stem in stems for suffix in suffixes], args.force)
    with busy('loading the model'):
        inferencer = load_inferencer(args, vocabulary)
    if vocabulary is None:
        print(inferencer.vocabulary.describe())
    failures = []
    for path, stem in track(zip(paths, stems, strict=True), len(paths), 'segmenting'):
        try:
            result = inferencer.segment(path, min_confidence=args.min_confidence, min_area=args.min_area)
        except UnreadableImageError as error:
            failures.append(error)
            continue
        written = result.save(folder, stem, force=True)
        print(f'\n{format_masks(result)}\n  written: {", ".join(map(shown, written))}')
    return report_failures(failures, len(paths))


def vocabulary_from_args(args: argparse.Namespace) -> Vocabulary | None:
    """The vocabulary that the options describe, or None when they name no classes.

    Raises:
        UserError: if background options are used without classes or do not go together.
        VocabularyError: if the classes cannot be used.
    """
    from denseclip.clip.vocabulary import Vocabulary, file_vocabulary, typed_vocabulary

    background: dict[str, Any] = {'background': args.background}
    if args.background_names is not None and args.background == 'none':
        background['background'] = 'prompts'
    if background['background'] == 'prompts':
        names = args.background_names
        given = None if names is None else tuple(names.split(';' if ';' in names else ','))
        background['background_names'] = given or DEFAULT_BACKGROUND_NAMES
    elif args.background_names is not None:
        raise UserError('--background-names goes with --background prompts; leave one of them out.')
    if (args.threshold is not None) != (args.background == 'threshold'):
        raise UserError('--background threshold and --threshold SCORE need each other.')
    if args.threshold is not None:
        background['threshold'] = args.threshold
    if args.classes is None and args.classes_file is None:
        if background['background'] != 'none':
            raise UserError('a background needs classes to set it off from; give --classes or --classes-file.')
        return None
    if args.classes is not None:
        found, notes = typed_vocabulary(args.classes)
    else:
        found, notes = file_vocabulary(args.classes_file)
    for note in notes:
        print(f'note: {shown(note)}')
    return Vocabulary(found.classes, **background)


def load_inferencer(args: argparse.Namespace, vocabulary: Vocabulary | None) -> Inferencer:
    """The model that the options name.

    Raises:
        ImportError: if the host stack is not installed.
        UserError: if the model cannot be used.
    """
    from denseclip.compat.versions import require_host_stack

    require_host_stack('denseclip segment')
    from denseclip.apis.inferencer import Inferencer

    with warnings.catch_warnings():
        # Advice to MMSegmentation's developers; what the suite itself warns of is shown.
        warnings.filterwarnings('ignore', category=UserWarning, module=r'mmseg\.')
        if args.method is not None:
            return load_method(args, vocabulary)
        if args.task is not None or args.things is not None or args.score is not None:
            if args.config is None:
                raise UserError(
                    '--task, --things and --score go with query-based models: name one with --method '
                    f'({", ".join(MASK_CONFIGS)}) or --config, or leave them out.'
                )
            return load_mask_inferencer(args, vocabulary)
        if args.preset is not None:
            return _preset_inferencer(args, vocabulary)
        if args.clip is not None or args.pretrained is not None:
            raise UserError(
                '--clip and --pretrained go with --preset or --method ovseg; name one (such as maskclip), or leave '
                'them out.'
            )
        return Inferencer(args.config, args.weights, args.device, vocabulary, trust=args.trust)


def _preset_inferencer(args: argparse.Namespace, vocabulary: Vocabulary | None) -> Inferencer:
    from denseclip.apis.inferencer import Inferencer
    from denseclip.apis.presets import DEFAULT_CLIP

    if args.config is not None or args.weights is not None:
        raise UserError('--preset is a model of its own: leave --config and --weights out.')
    if vocabulary is None:
        raise UserError(f'--preset {args.preset} brings no classes; give --classes or --classes-file.')
    clip = args.clip or DEFAULT_CLIP
    return Inferencer.from_preset(args.preset, vocabulary, clip, args.pretrained, args.device, trust=args.trust)


if __name__ == '__main__':
    sys.exit(main())
