"""``denseclip convert clip``: a CLIP of any layout as a folder that every command takes as ``local-dir:FOLDER``."""

from __future__ import annotations

import argparse
from pathlib import Path

from denseclip.cli.options import add_trust

HELP = 'a CLIP as its authors publish it (Long-CLIP, SLIP, MaPLe, Talk2DINO, dino.txt ...) as a folder for local-dir:'


def add_options(parser: argparse.ArgumentParser) -> None:
    """Words and options of the command."""
    parser.add_argument('source', help='weight file, or a source such as local-dir:, hf-hub:')
    parser.add_argument('target', help='folder to make')
    parser.add_argument('--clip', metavar='MODEL', help="open_clip's architecture (default: told from the tensors)")
    parser.add_argument(
        '--base',
        metavar='TAG',
        help='whole CLIP, a tag of open_clip or a file, that a part of one is laid over: an image tower alone, MaPLe, '
        "Talk2DINO's mapping of words (default there: OpenAI's); for dino.txt the file of its text tower",
    )
    parser.add_argument(
        '--dino',
        metavar='FILE',
        help="DINO that Talk2DINO's mapping or dino.txt's head belongs to (dinov2_vitb14_reg4_pretrain.pth ...)",
    )
    parser.add_argument('--tag', metavar='NAME', help='which weights these are (longclip-b ...), see docs/towers.md')
    add_trust(parser)
    parser.add_argument('--force', action='store_true', help='write into a folder that has files')


def run(args: argparse.Namespace) -> int:
    """Convert, and say how the folder is used."""
    from denseclip.apis.errors import UserError
    from denseclip.clip.family import read_family
    from denseclip.clip.writing import write_clip_folder

    folder = Path(args.target)
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not args.force):
        raise UserError(f"'{folder}' exists; choose another folder or pass --force.")
    loaded = read_family(args.source, args.clip, base=args.base, tag=args.tag, dino=args.dino, trust=args.trust)
    folder.mkdir(parents=True, exist_ok=True)
    file = write_clip_folder(loaded, folder, half=False)
    numbers = sum(p.numel() for p in loaded.model.parameters()) / 1e6
    print(f'{file}: {numbers:.2f} M numbers. Use it as local-dir:{folder}')
    return 0
