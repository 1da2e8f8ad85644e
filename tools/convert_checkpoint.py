"""Convert a weight file: ``python tools/convert_checkpoint.py SOURCE TARGET [--converter NAME] [--inverse]``.

By default the authors' DenseCLIP checkpoints become ours; ``--inverse`` goes the other way where a converter can.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from denseclip.apis.errors import UserError
from denseclip.apis.programs import add_debug_option, program
from denseclip.files.atomic import replacing
from denseclip.weights import (
    read_checkpoint,
    require_usable,
    resolve,
    usable_target,
    weight_file,
    write_safetensors,
)
from denseclip.weights.convert import CONVERTERS, convert


def parse_args(argv: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Convert a weight file between its authors' names and ours.")
    parser.add_argument('source', help='file, or a source such as local-dir:, hf-hub:, package:')
    parser.add_argument('target', type=Path, help='file to write: *.safetensors, or *.pth for a PyTorch checkpoint')
    about = '; '.join(f'{name}: {converter.description}' for name, converter in sorted(CONVERTERS.items()))
    parser.add_argument('--converter', default='denseclip', choices=sorted(CONVERTERS), help=about)
    parser.add_argument('--inverse', action='store_true', help='from our names to theirs')
    parser.add_argument('--trust', action='store_true', help='read a pickle even if that runs code in it')
    parser.add_argument('--force', action='store_true', help='replace an existing target')
    add_debug_option(parser)
    args = parser.parse_args(argv)
    if args.target.suffix not in ('.safetensors', '.pth'):
        parser.error(f"the target '{args.target}' must end in .safetensors or .pth")
    return args


def write(target: Path, state: dict[str, Tensor], meta: dict[str, Any], wrapper: str = 'state_dict') -> None:
    """Write tensors and what is known about them; an interruption leaves no half file.

    In a PyTorch file the tensors stand under ``wrapper``, where its readers look for them.
    """
    if target.suffix == '.safetensors':
        plain = {key: value for key, value in meta.items() if isinstance(value, (str, int, float, list, tuple))}
        write_safetensors(state, target, plain)
        return
    require_usable(state, target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as partial:
        torch.save({'meta': meta, wrapper: state}, partial)


@program
def main(argv: list[str]) -> None:
    """Run the tool."""
    args = parse_args(argv)
    if args.target.exists() and not args.force:
        raise UserError(f"'{args.target}' exists; choose another name or pass --force.")
    usable_target(args.target)
    checkpoint = read_checkpoint(weight_file(resolve(args.source)), trust=args.trust)
    require_usable(checkpoint.state_dict, args.source)
    state = convert(checkpoint.state_dict, args.converter, inverse=args.inverse)
    meta = {**checkpoint.meta, 'converter': args.converter, 'inverse': int(args.inverse)}
    write(args.target, state, meta, CONVERTERS[args.converter].wrapper if args.inverse else 'state_dict')
    print(f'{args.target}: {len(state)} tensors, {sum(v.numel() for v in state.values()) / 1e6:.2f} M numbers')


if __name__ == '__main__':
    sys.exit(main())
