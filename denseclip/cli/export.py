"""``denseclip export``: a model as files that run without PyTorch."""

from __future__ import annotations

import argparse
import warnings

from denseclip.cli.options import WEIGHTS, add_trust

HELP = 'write a model as files that run without PyTorch'
EPILOG = (
    'examples:\n'
    '  denseclip export --out exported\n'
    '  denseclip segment street.jpg --runtime exported --classes "road; car; sky" --out results'
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Words and options of the command."""
    parser.add_argument(
        'config',
        nargs='?',
        metavar='CONFIG',
        help='config of the model, or the name of one that comes with the package (default: the bundled model)',
    )
    parser.add_argument('--weights', metavar='FILE', help=WEIGHTS)
    parser.add_argument('--to', choices=('onnx',), default='onnx', help='kind of files (%(default)s)')
    parser.add_argument(
        '--classes',
        metavar='TEXT',
        help='words to put into the export instead of the text tower; by default words stay free',
    )
    parser.add_argument('--out', required=True, metavar='DIR', help='folder for the files')
    parser.add_argument('--force', action='store_true', help='overwrite an earlier export')
    add_trust(parser)


def run(args: argparse.Namespace) -> int:
    """Write the files, and say what comparing them with PyTorch showed."""
    from denseclip.cli.progress import busy
    from denseclip.compat.versions import require_host_stack

    require_host_stack('denseclip export')
    from denseclip.apis.config import inference_config
    from denseclip.apis.inferencer import Inferencer
    from denseclip.clip.vocabulary import typed_vocabulary
    from denseclip.export.capabilities import refuse
    from denseclip.export.graphs import check_packages
    from denseclip.export.run import describe, export
    from denseclip.files.names import shown
    from denseclip.files.shipped import config_file

    check_packages()
    words, notes = (None, ()) if args.classes is None else typed_vocabulary(args.classes)
    for note in notes:
        print(f'note: {shown(note)}')
    config = None if args.config is None else str(config_file(args.config))
    if config is not None:
        refuse(inference_config(config).model.type)  # before weights are fetched and a model is built
    with warnings.catch_warnings():
        # Advice to MMSegmentation's developers.
        warnings.filterwarnings('ignore', category=UserWarning, module=r'mmseg\.')
        with busy('loading the model'):
            inferencer = Inferencer(config, args.weights, 'cpu', trust=args.trust)
        with busy('writing graphs and comparing them with PyTorch, which takes a minute or two'):
            folder = export(inferencer, args.out, args.to, words, force=args.force)
    print(describe(folder))
    print(f'next: denseclip segment street.jpg --runtime {shown(folder)} --out results')
    return 0
