"""Weights of a pretraining for use: ``python tools/export_pretrained.py CONFIG CHECKPOINT OUT_FOLDER``.

A CLIP is then loaded by ``load_clip('local-dir:OUT_FOLDER')``, a DINO by ``timm.create_model('local-dir:OUT_FOLDER')``.
"""

import argparse
import sys

from denseclip.cli.options import add_trust
from denseclip.cli.programs import add_debug_option, program


@program
def main(argv: list[str]) -> None:
    """Run the tool."""
    parser = argparse.ArgumentParser(description='Weights of a pretraining as a folder for load_clip or timm.')
    parser.add_argument('config', help='config of the training')
    parser.add_argument('checkpoint', help='checkpoint that it wrote')
    parser.add_argument('out', help='folder to write into')
    parser.add_argument('--full', action='store_true', help='keep float32 (default: large tensors in float16)')
    add_trust(parser)
    add_debug_option(parser)
    args = parser.parse_args(argv)

    from denseclip.engine.checkpoints import read_training_file
    from denseclip.engine.config import load_config
    from denseclip.models.pretraining import export_pretrained

    config = load_config(args.config)
    state = read_training_file(args.checkpoint, trust=args.trust)['state_dict']
    path = export_pretrained(config.model, state, args.out, half=not args.full)
    print(f'{path}  {path.stat().st_size / 1e6:.2f} MB')


if __name__ == '__main__':
    sys.exit(main())
