"""``denseclip convert weights``: a weight file from its authors' names to ours, or back."""

from __future__ import annotations

import argparse

from denseclip.cli.options import add_trust

HELP = "a weight file from its authors' names to ours, or back"
CONVERTER_NAMES = (
    'april_gan',
    'clip_family',
    'denseclip',
    'dino',
    'dinoiser',
    'dinotxt',
    'efficientnet_lite',
    'found',
    'maft',
    'maple',
    'mask2former',
    'mask_adapted_clip',
    'maskclip',
    'maskclip_plus',
    'mmseg_mask2former',
    'openai_clip',
    'ovseg',
    'sam3',
    'talk2dino',
    'transformers_clip',
    'trunk',
)
"""Known without loading torch, so that ``--help`` is quick; a test keeps it equal to what is registered."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Words and options of the command."""
    parser.add_argument('source', help='file, or a source such as local-dir:, hf-hub:, package:')
    parser.add_argument('target', help='file to write: *.safetensors, or *.pth for a PyTorch checkpoint')
    parser.add_argument(
        '--converter', default='denseclip', choices=CONVERTER_NAMES, help='whose names (default: %(default)s)'
    )
    parser.add_argument('--inverse', action='store_true', help='from our names to theirs')
    add_trust(parser)
    parser.add_argument('--force', action='store_true', help='replace an existing target')


def run(args: argparse.Namespace) -> int:
    """Convert, and say how large the result is."""
    from denseclip.weights.conversion import convert_file

    state = convert_file(
        args.source, args.target, args.converter, inverse=args.inverse, trust=args.trust, force=args.force
    )
    numbers = sum(tensor.numel() for tensor in state.values()) / 1e6
    print(f'{args.target}: {len(state)} tensors, {numbers:.2f} M numbers')
    return 0
