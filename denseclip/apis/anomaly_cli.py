"""The command ``denseclip anomaly``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from denseclip.apis.errors import UserError, report_failures
from denseclip.files.names import shown

_EXAMPLE = 'example: denseclip anomaly shots/ --object "metal nut" --defects "scratch; dent" --out inspection'


def add_parser(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to the program's."""
    parser = commands.add_parser(
        'anomaly', parents=[common], help='find defects in pictures of a named product', epilog=_EXAMPLE
    )
    parser.add_argument(
        'folder',
        metavar='FOLDER',
        help='folder of pictures; or with sub-folders: normal/, others named by their defect, and optionally masks/',
    )
    parser.add_argument('--object', required=True, metavar='NAME', help='what the pictures show, such as "metal nut"')
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
    parser.add_argument('--config', metavar='FILE', help='config of the model (default: AnoVL without adaptation)')
    parser.add_argument('--clip', metavar='MODEL', help='another CLIP: an architecture, local-dir:FOLDER, hf-hub:NAME')
    parser.add_argument('--weights', metavar='FILE', help="the CLIP's weights: a tag or a file")
    parser.add_argument('--checkpoint', metavar='FILE', help='weights of a trained anomaly model')
    parser.add_argument('--device', metavar='DEVICE', help='such as cpu or cuda:0 (default: CUDA where there is any)')
    parser.add_argument('--trust', action='store_true', help='read weights even if that runs code from the file')
    parser.add_argument('--maps', action='store_true', help='also write the raw maps, as float32 TIFF')
    parser.add_argument('--out', required=True, metavar='DIR', help='folder for the results')
    parser.add_argument('--force', action='store_true', help='overwrite earlier results')
    parser.set_defaults(run=run_anomaly)


def run_anomaly(args: argparse.Namespace) -> int:
    """Inspect a folder; exit code 2 when a picture could not be read."""
    from denseclip.compat.versions import require_host_stack

    require_host_stack('denseclip anomaly')
    from denseclip.apis.anomaly import AnomalyInferencer
    from denseclip.apis.anomaly_folder import check_threshold, items_in, stray_masks
    from denseclip.apis.anomaly_output import output_names
    from denseclip.apis.files import prepare_folder
    from denseclip.apis.progress import busy
    from denseclip.files.names import readable
    from denseclip.files.scratch import exit_on_signals
    from denseclip.files.stems import output_stems

    items, threshold = items_in(args.folder), threshold_of(args.threshold)
    check_threshold(threshold, items)
    # Names do not depend on which pictures turn out to be unreadable.
    stems = dict(
        zip((item.path for item in items), output_stems([Path(readable(item.path)) for item in items]), strict=True)
    )
    folder = prepare_folder(args.out, output_names(list(stems.values()), args.maps), args.force)
    with busy('loading the model'):
        inferencer = AnomalyInferencer(
            args.config, args.clip, args.weights, args.checkpoint, args.device, trust=args.trust
        )
        inferencer.set_object(args.object, args.domain, args.defects)
    with exit_on_signals():
        return _inspect(args, inferencer, items, threshold, folder, stems, stray_masks(args.folder, items))


def _inspect(
    args: argparse.Namespace,
    inferencer: Any,
    items: Any,
    threshold: str | float,
    folder: Path,
    stems: dict[Path, str],
    strays: list[str],
) -> int:
    """Inspect the pictures and write the results; the waiting maps go whatever happens."""
    from denseclip.apis.anomaly_folder import inspect_pictures
    from denseclip.apis.anomaly_output import write_outputs
    from denseclip.apis.progress import track
    from denseclip.files.names import readable

    found = inspect_pictures(inferencer, items, threshold, track=lambda them: track(them, len(them), 'inspecting'))
    found.notes += [readable(line) for line in strays]
    try:
        if not found.items:
            raise found.failures[0]
        written = write_outputs(
            found,
            folder,
            [stems[item.path] for item in found.items],
            args.object,
            args.maps,
            track=lambda them: track(them, len(them), 'writing'),
        )
        print(summary_text(found))
        print(f'written: {", ".join(map(shown, written))}')
    finally:
        found.close()
    return report_failures(found.failures, len(items))


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
    return '\n'.join([head, '  score         raw  picture', *rows, *more, *([measures] if measures else []), *notes])
