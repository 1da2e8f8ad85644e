"""``denseclip anomaly``: defects of a named product."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from denseclip.apis.errors import UserError
from denseclip.cli.anomaly_models import chosen_method, give_references, good_pictures, load_anomaly_model, load_namer
from denseclip.cli.options import (
    add_batch_option,
    add_clip_options,
    add_model_options,
    add_output_options,
    check_output,
)
from denseclip.cli.pictures import load_aloud
from denseclip.cli.programs import report_failures
from denseclip.cli.runtime_option import add_runtime_option
from denseclip.cli.talk import emit, note_left_out, use_host
from denseclip.files.names import shown

HELP = 'find defects in pictures of a product'
EPILOG = """examples:
  denseclip anomaly shots/ --normal good/ --out inspection
  denseclip anomaly shots/ --object "metal nut" --defects "scratch; dent" --method anovl --out inspection"""
DEFECT_FOUND = 3


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
    parser.add_argument(
        '--defects',
        metavar='WORDS',
        help='defect words, "scratch; dent": methods with words look for them, too, and areas of flagged pictures get '
        'the words that they look like to a CLIP (--clip)',
    )
    parser.add_argument(
        '--prompts',
        metavar='FILE',
        help='what says good and bad for methods with words: a .safetensors file with a learnt pair, a JSON file of '
        'sentences, or the name of a set of the suite',
    )
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
    parser.add_argument(
        '--fail-on-defect', action='store_true', help=f'exit with status {DEFECT_FOUND} if a picture is anomalous'
    )
    parser.add_argument(
        '--watch',
        nargs='?',
        const=2.0,
        type=float,
        metavar='SECONDS',
        help='go on looking for new pictures every so many seconds (2), until Ctrl-C; good pictures say what is usual',
    )
    add_batch_option(parser)
    add_output_options(parser)
    parser.set_defaults(lean=True)


def run(args: argparse.Namespace) -> int:
    """Inspect a folder; exit code 2 when a picture could not be read, see also ``--fail-on-defect``."""
    check_output(args)
    if args.watch is not None:
        from denseclip.cli.anomaly_watch import check_watch

        check_watch(args)
    if args.runtime is None:
        use_host('denseclip anomaly')
    else:
        from denseclip.runtime.inspection import need_inspection

        need_inspection()
    from denseclip.apis.anomaly_folder import check_threshold, items_in, mask_notes, stray_masks
    from denseclip.apis.anomaly_output import output_names
    from denseclip.apis.files import check_out, prepare_folder
    from denseclip.files.names import readable
    from denseclip.files.scratch import exit_on_signals
    from denseclip.files.stems import output_stems

    threshold = threshold_of(args.threshold)
    if args.watch is not None:
        from denseclip.cli.anomaly_watch import watch

        return watch(args, threshold)
    items = items_in(args.folder)
    if args.out is not None:
        check_out(args.out, [Path(args.folder)])
    note_left_out([args.folder], deep=True)
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
        folder = prepare_folder(args.out, output_names(list(stems.values()), wants_maps(args), formats), args.force)
    inferencer = load_aloud(lambda: load_anomaly_model(args, choice))
    namer = load_namer(args, inferencer)
    notes = [*mask_notes(items), *stray_masks(args.folder, items)]
    with exit_on_signals():
        items, judges = give_references(inferencer, choice, good, items)
        if threshold == 'F1' and all(item.label for item in items):
            raise UserError(
                'the good picture is compared with, so it cannot be measured, and --threshold F1 needs one that is: '
                'add a second, other one, or use auto or a score.'
            )
        return _inspect(args, inferencer, items, threshold, folder, stems, notes, judges, choice, namer)


def _inspect(
    args: argparse.Namespace,
    inferencer: Any,
    items: Any,
    threshold: str | float,
    folder: Path | None,
    stems: dict[Path, str],
    notes: list[str],
    good: list[Path],
    choice: Any,
    namer: Any,
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
    found.method, found.namer = str(choice), namer
    found.notes += [readable(line) for line in notes]
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
                wants_maps(args),
                extra_formats(args),
                track=lambda them: track(them, len(them), 'writing'),
            )
        if args.json:
            _emit(args, found, folder, stems)
        else:
            print(summary_text(found))
            print(f'written: {", ".join(map(shown, written))}')
    finally:
        found.close()
    code = report_failures(found.failures, len(items))
    flagged = bool((found.scores >= found.thresholds.picture).any())
    return DEFECT_FOUND if code == 0 and args.fail_on_defect and flagged else code


def extra_formats(args: argparse.Namespace) -> list[Any]:
    """Formats that are named, without those whose files every inspection has folders for.

    Raises:
        UserError: See ``chosen_formats``.
    """
    return [row for row in _named_formats(args) if not row.usual]


def wants_maps(args: argparse.Namespace) -> bool:
    """Whether raw maps are written: ``--maps``, or their format is named.

    Raises:
        UserError: See ``chosen_formats``.
    """
    return args.maps or any(row.name == 'map' for row in _named_formats(args))


def _named_formats(args: argparse.Namespace) -> list[Any]:
    from denseclip.apis.results.formats import chosen_formats

    if args.formats is None:
        return []
    named = {name.strip() for name in args.formats.split(',')}  # "usual" is what inspections write anyway
    return [row for row in chosen_formats('anomaly', args.formats) if row.name in named]


def _emit(args: argparse.Namespace, found: Any, folder: Path | None, stems: dict[Path, str]) -> None:
    """A line of JSON for each picture, highest score first."""
    from denseclip.apis.anomaly_output import picture_names
    from denseclip.files.names import readable

    maps, formats = wants_maps(args), extra_formats(args)
    for index in found.order():
        result = found.result(index)
        anomalous = bool(result.score >= found.thresholds.picture)
        names = picture_names(stems[found.items[index].path], maps, formats)
        files = [] if folder is None else [readable(folder / name) for name in names]
        emit(args.output, {**result.to_dict(), 'anomalous': anomalous, 'files': files})
    for failure in found.failures:
        emit(args.output, {'source': readable(failure.path), 'error': readable(failure)})


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
    notes = [found.chance] if found.chance else []
    notes += [f'note: {shown(line)}' for line in found.notes[:lines]]
    notes += [f'  ... and {len(found.notes) - lines} more notes'] if len(found.notes) > lines else []
    first = [found.method] if found.method else []
    return '\n'.join(
        [*first, head, '  score         raw  picture', *rows, *more, *([measures] if measures else []), *notes]
    )
