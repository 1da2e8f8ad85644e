"""``denseclip segment``: label the pixels of pictures by words."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from denseclip.apis.errors import UserError, check_share
from denseclip.apis.methods import SEGMENTATION_TASKS, STAGES, methods_for
from denseclip.cli.options import (
    add_batch_option,
    add_class_options,
    add_clip_options,
    add_dino_option,
    add_masks_option,
    add_model_options,
    add_output_options,
    given_classes,
    model_arguments,
)
from denseclip.cli.pictures import run_pictures
from denseclip.cli.runtime_option import add_runtime_option, load_runtime
from denseclip.cli.talk import use_host
from denseclip.files.names import shown
from denseclip.structures.active_vocabulary import SCORERS

if TYPE_CHECKING:
    from denseclip.apis.predictor import Predictor
    from denseclip.clip.vocabulary import Vocabulary

DEFAULT_BACKGROUND_NAMES = ('background', 'something else')
HELP = 'label the pixels of pictures by words'
EPILOG = 'example: denseclip segment street.jpg --classes "road; car=automobile,vehicle; sky" --out results'


def add_options(parser: argparse.ArgumentParser) -> None:
    """Words and options of the command."""
    parser.add_argument('images', nargs='+', metavar='IMAGE', help='pictures, folders of pictures, or quoted patterns')
    add_word_options(parser)
    add_model_options(parser, 'the bundled model')
    parser.add_argument(
        '--preset',
        metavar='NAME',
        help='a training-free method on a CLIP model: maskclip, sclip, clearclip, naclip, ...; needs --classes; the '
        'same as --model',
    )
    add_clip_options(parser, 'the preset, or of ovseg with --masks from elsewhere')
    add_dino_option(parser)
    parser.add_argument(
        '--explain', action='store_true', help='with --descriptions: say which of them each class is most like (top 3)'
    )
    add_score_options(parser)
    add_choice_option(parser)
    add_head_options(parser)
    add_mask_options(parser)
    add_runtime_option(parser)
    add_batch_option(parser)
    add_output_options(parser)
    parser.set_defaults(lean=True)


def add_word_options(parser: argparse.ArgumentParser, *names: str) -> None:
    """Classes and what becomes of pixels of none.

    Args:
        parser: Gets the options.
        *names: Further names of the option ``--classes``.
    """
    add_class_options(
        parser,
        'classes separated by ";", further names of a class after "=" separated by ",", '
        'the name of a list (ade20k, camvid, coco, ...), or the path of one; by default the words of the model',
        *names,
    )
    parser.add_argument(
        '--descriptions',
        metavar='FILE',
        help='what the classes look like: JSON, {"cat": ["four legs", "whiskers"]}; the mean of these scores counts. '
        'For models of masks also what tells two apart: {"cat | dog": [["a cat with a thin tail", "a dog with ..."]]}; '
        'the likeliest classes of each mask are compared again',
    )
    parser.add_argument(
        '--background',
        choices=('none', 'prompts', 'threshold', 'clipn', 'gda'),
        default='none',
        help='pixels of no class: none (each gets a class, the default), prompts (one more class with words of its '
        'own), threshold (where the best class is less probable than --threshold), clipn (where the second text '
        "tower of CLIPN's weights says so; with --preset and those weights), gda (what is strange to the --head of "
        'labelled pictures); not every model can do each',
    )
    parser.add_argument(
        '--background-names',
        metavar='WORDS',
        help=f'words of the background, separated by ","; implies --background prompts '
        f'(default there: {", ".join(DEFAULT_BACKGROUND_NAMES)})',
    )
    parser.add_argument(
        '--threshold',
        type=float,
        metavar='SCORE',
        help='for --background threshold: least probability of the best class; for gda: part of the labelled pixels '
        'than which the background is stranger (default: 0.99)',
    )


def add_score_options(parser: argparse.ArgumentParser) -> None:
    """What is left out."""
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


def add_choice_option(parser: argparse.ArgumentParser) -> None:
    """Which classes take part."""
    listed = '; '.join(f'{name}: {meaning}' for name, meaning in SCORERS.items())
    parser.add_argument(
        '--active-vocabulary',
        choices=tuple(SCORERS),
        metavar='SCORER',
        help='choose the classes of each picture first, and label its pixels with those alone: the best fifth of a '
        f'long list, 5 to 40 classes. {listed}',
    )


def add_head_options(parser: argparse.ArgumentParser) -> None:
    """What a few labelled pictures add to the words."""
    add_head_option(parser)
    parser.add_argument(
        '--unknown',
        type=float,
        metavar='P',
        help='with --head: pixels that are stranger than this part of the labelled pixels (0.99) get no class, 0..1; '
        'beside any other --background',
    )


def add_head_option(parser: argparse.ArgumentParser) -> None:
    """The head of a few labelled pictures."""
    parser.add_argument(
        '--head',
        metavar='FILE',
        help="a head that 'denseclip adapt' made of labelled pictures for this model; its classes are the default",
    )


def add_mask_options(parser: argparse.ArgumentParser) -> None:
    """Models that make masks first, and what becomes of them."""
    parser.add_argument(
        '--method',
        choices=methods_for(*SEGMENTATION_TASKS),
        help='a published model with a mask generator; with --weights (its checkpoint), and --config if it is not the '
        'largest one. ovseg also works with masks from elsewhere: see --masks',
    )
    parser.add_argument(
        '--task',
        choices=SEGMENTATION_TASKS,
        help='what a query-based model (fcclip, maft, pmp, or --config) makes of its masks: labels, segments or '
        'instances (default: semantic)',
    )
    parser.add_argument(
        '--things',
        metavar='TEXT',
        help='countable classes for panoptic and instance results: names separated by ";", all, none, or the things of '
        'ade20k, cityscapes, coco (default: all but words such as sky, road, grass)',
    )
    parser.add_argument('--score', type=float, metavar='SCORE', help='least confidence of an instance (default: 0.3)')
    group = parser.add_argument_group('ovseg')
    add_masks_option(group)
    group.add_argument(
        '--stage',
        choices=STAGES,
        help='who decides about a mask: the mask generator (first), CLIP on a picture of it (second, the default: it '
        'knows any word), or both',
    )


def check_scores(args: argparse.Namespace) -> None:
    """Refuse two least scores of instances, of which one would have no effect.

    Raises:
        UserError: Then.
    """
    if args.score is not None and args.min_confidence is not None:
        raise UserError('--score and --min-confidence say the same of instances: leave one of them out.')


def run(args: argparse.Namespace) -> int:
    """Results of every picture that can be read, then a list of those that cannot."""
    from denseclip.compat.versions import require_host_stack

    check_share('--min-confidence', args.min_confidence)
    check_share('--min-area', args.min_area)
    check_share('--unknown', args.unknown)
    check_scores(args)
    if args.runtime is not None and args.head is not None:
        raise UserError('--head goes with a model, not with --runtime: leave one of them out.')
    if args.runtime is not None and args.active_vocabulary is not None:
        raise UserError('--active-vocabulary goes with a model, not with --runtime: leave one of them out.')
    if args.runtime is not None and args.descriptions is not None:
        raise UserError('--descriptions go with a model, not with --runtime: leave one of them out.')
    if args.runtime is None:
        require_host_stack('denseclip segment')
    name = model_name(args)
    vocabulary = vocabulary_from_args(args)
    if vocabulary is not None and not args.json:
        print(vocabulary.describe())

    if args.explain and args.descriptions is None:
        raise UserError('--explain says which descriptions fit: give them with --descriptions FILE.')

    def ready(model: Any) -> None:
        model.explain = args.explain
        if args.active_vocabulary is not None:
            model.active_vocabulary = args.active_vocabulary
        if vocabulary is None and not args.json:
            print(model.vocabulary.describe())

    return run_pictures(
        args,
        args.task or 'semantic',
        lambda: load_segmentor(args, name, vocabulary),
        ready,
        min_confidence=args.min_confidence,
        min_area=args.min_area,
    )


def model_name(args: argparse.Namespace) -> str | None:
    """The one name of a model among the options; a method may have another config.

    Raises:
        UserError: If there are two.
    """
    from denseclip.apis.catalogue import one_of

    return one_of(**{f'--{key}': getattr(args, key) for key in ('model', 'preset', 'method')})


def load_segmentor(args: argparse.Namespace, name: str | None, vocabulary: Vocabulary | None) -> Predictor:
    """The model that the options name.

    Raises:
        ImportError: If the host stack is not installed.
        UserError: If the model cannot be used, or segments nothing.
    """
    if args.runtime is not None:
        return load_runtime(args, vocabulary)
    use_host('denseclip segment')
    from denseclip.apis.inferencer import Inferencer
    from denseclip.apis.loading import load_model

    model = load_model(name, words=vocabulary, **model_arguments(args))
    if not isinstance(model, Inferencer):
        other = {'instance': 'detect', 'anomaly': 'anomaly'}[model.task]
        raise UserError(f"{type(model.model).__name__} segments nothing by words; use 'denseclip {other}'.")
    return model


def vocabulary_from_args(args: argparse.Namespace) -> Vocabulary | None:
    """The vocabulary that the options describe, or None when they name no classes.

    Raises:
        UserError: if background options are used without classes or do not go together.
        VocabularyError: if the classes cannot be used.
    """
    from denseclip.clip.vocabulary import Vocabulary

    descriptions = getattr(args, 'descriptions', None)
    background = _background(args)
    found = given_classes(args)
    if found is None:
        if args.background == 'gda' and descriptions is None:
            from denseclip.apis.pixel_heads import given_head

            return replace(given_head(args.head)[0].vocabulary, **background)
        if background['background'] != 'none':
            raise UserError('a background needs classes to set it off from; give --classes or --classes-file.')
        if descriptions is not None:
            raise UserError('--descriptions says what classes look like; give them with --classes or --classes-file.')
        return None
    vocabulary = Vocabulary(found.classes, **background)
    return vocabulary if descriptions is None else _described(vocabulary, descriptions)


def _background(args: argparse.Namespace) -> dict[str, Any]:
    """The fields of a vocabulary that say what becomes of pixels of no class.

    Raises:
        UserError: If the options do not go together.
    """
    background: dict[str, Any] = {'background': args.background}
    if args.background_names is not None and args.background == 'none':
        background['background'] = 'prompts'
    if background['background'] == 'prompts':
        names = args.background_names
        given = None if names is None else tuple(names.split(';' if ';' in names else ','))
        background['background_names'] = given or DEFAULT_BACKGROUND_NAMES
    elif args.background_names is not None:
        raise UserError('--background-names goes with --background prompts; leave one of them out.')
    if args.background == 'gda':
        _check_head(args)
    if (args.threshold is not None) != (args.background == 'threshold') and args.background != 'gda':
        raise UserError('--background threshold and --threshold SCORE need each other.')
    if args.threshold is not None:
        background['threshold'] = args.threshold
    return background


def _check_head(args: argparse.Namespace) -> None:
    """Refuse a background by a head that is not there.

    Raises:
        UserError: Then.
    """
    if not hasattr(args, 'head'):
        raise UserError("--background gda goes with 'denseclip segment --head FILE': choose another one here.")
    if args.head is None:
        raise UserError("--background gda needs --head FILE, which 'denseclip adapt' makes of labelled pictures.")
    if getattr(args, 'unknown', None) is not None:
        raise UserError('--unknown P is the same as --background gda --threshold P: leave one of them out.')


def _described(vocabulary: Vocabulary, file: str) -> Vocabulary:
    """The vocabulary with the descriptions of a file; classes that it leaves out are said."""
    from denseclip.clip.descriptions import read_descriptions
    from denseclip.clip.differences import file_of_pairs, read_differences

    if file_of_pairs(file):
        return vocabulary.with_differences(read_differences(file, vocabulary.names))
    found = vocabulary.with_descriptions(read_descriptions(file))
    bare = [entry.name for entry in found.classes if not entry.descriptors]
    if bare:
        print(f"note: '{shown(file)}' says nothing of {shown(', '.join(bare))}: the name alone counts there")
    return found
