"""The command ``denseclip detect``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from denseclip.apis.errors import UserError, report_failures
from denseclip.files.names import shown

if TYPE_CHECKING:
    from denseclip.apis.detection import Detections

_EXAMPLE = 'example: denseclip detect smear.jpg --config bccd.py --weights bccd.safetensors --out found'


def add_parser(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to the program's."""
    parser = commands.add_parser(
        'detect', parents=[common], help='find objects in pictures, with boxes and masks', epilog=_EXAMPLE
    )
    parser.add_argument('images', nargs='+', metavar='IMAGE', help='pictures, folders of pictures, or quoted patterns')
    parser.add_argument('--config', required=True, metavar='FILE', help='config of the detector')
    parser.add_argument(
        '--weights',
        metavar='FILE',
        help="checkpoint: file, hf-hub:, local-dir:, package: (default: config's load_from)",
    )
    parser.add_argument('--score', type=float, default=0.3, help='least confidence of an object (default: 0.3)')
    parser.add_argument('--device', metavar='DEVICE', help='such as cpu or cuda:0 (default: CUDA where there is any)')
    parser.add_argument('--trust', action='store_true', help='read weights even if that runs code from the file')
    parser.add_argument('--out', required=True, metavar='DIR', help='folder for the results')
    parser.add_argument('--force', action='store_true', help='overwrite earlier results')
    parser.set_defaults(run=run_detect)


def run_detect(args: argparse.Namespace) -> int:
    """Results of every picture that can be read, then a list of those that cannot; exit code 2 if there are any."""
    from denseclip.compat.versions import require_host_stack

    if not 0 <= args.score <= 1:
        raise UserError(f'--score {args.score:g} must be between 0 and 1.')
    require_host_stack('denseclip detect')
    from denseclip.apis.detector import Detector
    from denseclip.apis.files import prepare_folder
    from denseclip.apis.images import UnreadableImageError
    from denseclip.apis.inputs import expand_inputs
    from denseclip.apis.progress import busy, track
    from denseclip.apis.results.formats import endings
    from denseclip.files.stems import output_stems

    paths = expand_inputs(args.images)
    stems = output_stems(paths)
    folder = prepare_folder(args.out, [stem + suffix for stem in stems for suffix in endings('instance')], args.force)
    with busy('loading the model'):
        detector = Detector(args.config, args.weights, args.device, trust=args.trust)
    failures = []
    for path, stem in track(zip(paths, stems, strict=True), len(paths), 'detecting'):
        try:
            found = detector.detect(path, args.score)
        except UnreadableImageError as error:
            failures.append(error)
            continue
        written = found.save(folder, stem, force=True)
        print(f'\n{summary_text(found)}\n  written: {", ".join(map(shown, written))}')
    return report_failures(failures, len(paths))


def summary_text(found: Detections) -> str:
    """How many objects of which class, for the terminal."""
    height, width = found.image.shape[:2]
    lines = [f'{shown(found.source)}  {width} x {height}  {len(found)} objects']
    lines += [f'  {count:>5} x {shown(name)}' for name, count in found.counts().items()]
    return '\n'.join(lines)
