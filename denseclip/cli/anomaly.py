"""``denseclip anomaly``: defects of a named product."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from denseclip.apis.errors import UserError
from denseclip.cli.options import (
    add_batch_option,
    add_clip_options,
    add_model_options,
    add_output_options,
    check_output,
    model_arguments,
)
from denseclip.cli.pictures import load_aloud
from denseclip.cli.programs import report_failures
from denseclip.cli.runtime_option import add_runtime_option, load_anomaly_runtime
from denseclip.cli.talk import emit, use_host
from denseclip.files.names import shown

HELP = 'find defects in pictures of a product'
EPILOG = """examples:
  denseclip anomaly shots/ --normal good/ --out inspection
  denseclip anomaly shots/ --object "metal nut" --defects "scratch; dent" --method anovl --out inspection"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Words and options of the command."""
    parser.add_argument(
        'folder',
        metavar='FOLDER',
        help='folder of pictures; or with sub-folders: normal/, others named by their defect, and optionally masks/',
    )
    parser.add_argument(
        '--object', metavar='NAME', help='what the pictures show, such as "metal nut"; methods with words need it'
    )
    parser.add_argument(
        '--normal',
        metavar='FOLDER',
        nargs='+',
        help='good pictures to compare with: a folder, files or a pattern (default: normal/ in FOLDER, if it is there)',
    )
    parser.add_argument(
        '--method',
        default='auto',
        metavar='NAME',
        help='references (good pictures say what is usual), batch (the pictures judge one another), a method with '
        'words (anovl, anovl-tta, winclip, april-gan), or auto (default): references where there are good pictures, '
        'else batch from five pictures on, else anovl',
    )
    parser.add_argument(
        '--trunk',
        metavar='NAME',
        help='what references and batch look with: imagenet, bundled, dino, clip, or timm:NAME (default: clip if '
        '--clip is given, else imagenet where that package is installed, else bundled)',
    )
    parser.add_argument(
        '--image-size',
        type=int,
        metavar='N',
        help='references and batch: pictures are resized to about N x N pixels in their aspect ratio (default: 256)',
    )
    parser.add_argument(
        '--turns',
        action='store_true',
        help='references: also turned by 90, 180, 270 degrees, for parts that lie anyhow',
    )
    parser.add_argument(
        '--domain',
        metavar='WORDS',
        help="kind of pictures: industrial, texture, photo, or a phrase such as 'a satellite image' "
        '(default: by the name)',
    )
    parser.add_argument('--defects', metavar='WORDS', help='own defect words besides the general ones, "scratch; dent"')
    parser.add_argument(
        '--threshold',
        default='auto',
        metavar='auto|F1|SCORE',
        help='from which score on a picture or pixel is anomalous: auto (default; three standard deviations above the '
        'usual), F1 (best for the labels of the sub-folders), or a score between 0 and 1',
    )
    add_model_options(parser, 'AnoVL without adaptation')
    add_clip_options(parser, 'the model, another one')
    parser.add_argument('--checkpoint', metavar='FILE', help=argparse.SUPPRESS)  # what --weights was called
    add_runtime_option(parser)
    parser.add_argument('--maps', action='store_true', help='also write the raw maps, as float32 TIFF')
    add_batch_option(parser)
    add_output_options(parser)
    parser.set_defaults(lean=True)


def run(args: argparse.Namespace) -> int:
    """Inspect a folder; exit code 2 when a picture could not be read."""
    check_output(args)
    if args.runtime is None:
        use_host('denseclip anomaly')
    else:
        from denseclip.runtime.inspection import need_inspection

        need_inspection()
    from denseclip.apis.anomaly_folder import check_threshold, items_in, stray_masks
    from denseclip.apis.anomaly_output import output_names
    from denseclip.apis.files import prepare_folder
    from denseclip.files.names import readable
    from denseclip.files.scratch import exit_on_signals
    from denseclip.files.stems import output_stems

    items, threshold = items_in(args.folder), threshold_of(args.threshold)
    check_threshold(threshold, items)
    good = good_pictures(args, items)
    choice = chosen_method(args, len(good), len(items))
    # Names do not depend on which pictures turn out to be unreadable.
    stems = dict(
        zip((item.path for item in items), output_stems([Path(readable(item.path)) for item in items]), strict=True)
    )
    formats = extra_formats(args)
    folder = None
    if args.out is not None:
        folder = prepare_folder(args.out, output_names(list(stems.values()), args.maps, formats), args.force)
    inferencer = load_aloud(lambda: load_anomaly_model(args, choice))
    strays = stray_masks(args.folder, items)
    with exit_on_signals():
        items, judges = give_references(inferencer, choice, good, items)
        return _inspect(
            args, inferencer, items, threshold, folder, stems, strays, judges if args.normal else [], choice
        )


def _inspect(
    args: argparse.Namespace,
    inferencer: Any,
    items: Any,
    threshold: str | float,
    folder: Path | None,
    stems: dict[Path, str],
    strays: list[str],
    good: list[Path],
    choice: Any,
) -> int:
    """Inspect the pictures and write the results; the waiting maps go whatever happens."""
    from denseclip.apis.anomaly_folder import inspect_pictures
    from denseclip.apis.anomaly_output import write_outputs
    from denseclip.apis.batch_sizes import BatchSize
    from denseclip.cli.progress import track
    from denseclip.files.names import readable

    found = inspect_pictures(
        inferencer,
        items,
        threshold,
        track=lambda them: track(them, len(them), 'inspecting'),
        batch=BatchSize(args.batch_size),
        good=good,
    )
    found.method = str(choice)
    found.notes += [readable(line) for line in strays]
    try:
        if not found.items:
            raise found.failures[0]
        written: list[Path] = []
        if folder is not None:
            written = write_outputs(
                found,
                folder,
                [stems[item.path] for item in found.items],
                args.object or 'part',
                args.maps,
                extra_formats(args),
                track=lambda them: track(them, len(them), 'writing'),
            )
        if args.json:
            _emit(args, found)
        else:
            print(summary_text(found))
            print(f'written: {", ".join(map(shown, written))}')
    finally:
        found.close()
    return report_failures(found.failures, len(items))


def good_pictures(args: argparse.Namespace, items: Any) -> list[Path]:
    """Pictures named as good, else those that lie in a folder called normal; of very many, some.

    Raises:
        UserError: If there is none where they are said to be.
    """
    from denseclip.apis.inputs import expand_inputs

    return expand_inputs(args.normal) if args.normal else [item.path for item in items if item.label is False]


def chosen_method(args: argparse.Namespace, good: int, pictures: int) -> Any:
    """The method that the options name, or that suits the pictures.

    Raises:
        UserError: If options contradict one another, or a method lacks what it needs.
    """
    from denseclip.apis.anomaly_methods import Choice, choose_method

    named = args.runtime or args.model or args.config
    if named and args.method != 'auto':
        raise UserError(f'--method {args.method} and --model, --config or --runtime name two models: leave one out.')
    if named:
        choice = Choice(named, 'as named')
    elif args.weights is not None or args.checkpoint is not None:
        choice = Choice('anovl', 'weights of a model with words are given')
    else:
        choice = choose_method(args.method, good, pictures, args.object is not None)
    if not choice.compares and args.object is None:
        raise UserError(
            f'{choice.method} goes by words: say what the pictures show with --object "metal nut", or compare pictures '
            'with --method references or batch.'
        )
    if not choice.compares and (args.trunk or args.image_size or args.turns):
        raise UserError('--trunk, --image-size and --turns go with --method references or batch: leave them out.')
    return choice


def load_anomaly_model(args: argparse.Namespace, choice: Any) -> Any:
    """The model of a method, told what pictures show.

    Raises:
        UserError: If the model cannot be used, or is none for anomalies.
    """
    if args.runtime is not None:
        return load_anomaly_runtime(args)
    from denseclip.apis.anomaly import AnomalyInferencer, renamed_weights
    from denseclip.apis.anomaly_methods import comparing_config, trunk_config
    from denseclip.apis.loading import load_model

    options = model_arguments(args)
    if choice.compares:
        if args.image_size is not None and not 32 <= args.image_size <= 4096:
            raise UserError(f'--image-size {args.image_size} must lie between 32 and 4096.')
        trunk = trunk_config(args.trunk, args.clip, args.pretrained)
        settings = {'turns': args.turns or None} if choice.method == 'references' else {}
        config = comparing_config(choice.method, trunk, image_size=args.image_size, **settings)
        model = load_model(**{**options, 'config': config, 'clip': None, 'pretrained': None})
        if args.object is not None:
            model.set_object(args.object)
        return model
    named = args.model or args.config
    weights, pretrained = renamed_weights(named, args.weights, args.pretrained, args.checkpoint)
    options = {**options, 'weights': weights, 'pretrained': pretrained}
    name = args.model if named else choice.method
    model = load_model(name, **options)
    if not isinstance(model, AnomalyInferencer):
        raise UserError(f'{type(model.model).__name__} is no anomaly model; use a config of configs/anovl/.')
    model.set_object(args.object, args.domain, args.defects)
    return model


def give_references(inferencer: Any, choice: Any, good: list[Path], items: Any) -> tuple[Any, list[Path]]:
    """Give the model what it compares with.

    Returns:
        The pictures to look at, and good ones that can tell what is usual. A reference that is compared with no other,
        or of which the model keeps an extract only, is no judge of itself: it is in neither.
    """
    from denseclip.apis.anomaly_methods import split_good

    if choice.method == 'batch':
        inferencer.set_references(readable_pictures([item.path for item in items]))
        return items, good
    if not good or not hasattr(inferencer.model, 'set_references'):
        return items, []
    references, judges = split_good(good)
    inferencer.set_references(references)
    if len(references) > 1 and len(good) == len(references):
        return items, judges
    return [item for item in items if item.path not in set(references)] or items, judges


def readable_pictures(paths: list[Path]) -> list[Path]:
    """Those that can be read; the others are reported when they are looked at.

    Raises:
        UnreadableImageError: If none can.
    """
    from denseclip.apis.images import UnreadableImageError, read_image

    found, errors = [], []
    for path in paths:
        try:
            read_image(path, 'rgb')
            found.append(path)
        except UnreadableImageError as error:
            errors.append(error)
    if not found:
        raise errors[0]
    return found


def extra_formats(args: argparse.Namespace) -> list[Any]:
    """Formats besides the pictures and tables that are always written.

    Raises:
        UserError: See ``chosen_formats``.
    """
    from denseclip.apis.results.formats import chosen_formats

    rows = [] if args.formats is None else chosen_formats('anomaly', args.formats)
    return [row for row in rows if not row.usual]


def _emit(args: argparse.Namespace, found: Any) -> None:
    """A line of JSON for each picture, highest score first."""
    from denseclip.files.names import readable

    for index in found.order():
        result = found.result(index)
        anomalous = bool(result.score >= found.thresholds.picture)
        emit(args.output, {**result.to_dict(), 'anomalous': anomalous})
    for failure in found.failures:
        emit(args.output, {'error': readable(failure)})


def threshold_of(text: str) -> str | float:
    """The threshold that an option names.

    Raises:
        UserError: If it is neither a word nor a number.
    """
    word = {'auto': 'auto', 'f1': 'F1'}.get(text.lower())
    if word is not None:
        return word
    try:
        return float(text)
    except ValueError:
        raise UserError(f"--threshold '{text}' must be auto, F1 or a score between 0 and 1, such as 0.5.") from None


def summary_text(found: Any, lines: int = 15) -> str:
    """The highest scores and the measures, for the terminal."""
    scores, order = found.scores, found.order()
    flagged = int((scores >= found.thresholds.picture).sum())
    rows = [f'  {scores[i]:.3f}  {found.raw[i]:>10.6g}  {shown(found.items[i].path)}' for i in order[:lines]]
    more = [f'  ... and {len(order) - lines} more'] if len(order) > lines else []
    head = (
        f'{len(order)} pictures, {flagged} anomalous (threshold {found.thresholds.picture:.3f}; {found.thresholds.how})'
    )
    measures = '  '.join(f'{k} {100 * v:.1f}' for k, v in found.measures.items() if v == v)
    notes = [f'note: {shown(line)}' for line in found.notes[:lines]]
    notes += [f'  ... and {len(found.notes) - lines} more notes'] if len(found.notes) > lines else []
    first = [found.method] if found.method else []
    return '\n'.join(
        [*first, head, '  score         raw  picture', *rows, *more, *([measures] if measures else []), *notes]
    )
