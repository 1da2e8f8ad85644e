"""Write the weights of a training for release: ``python tools/publish_model.py CHECKPOINT OUT.safetensors``."""

import argparse
import sys

from denseclip.cli.options import add_trust
from denseclip.cli.programs import add_debug_option, program


@program
def main(argv: list[str]) -> None:
    """Run the tool."""
    parser = argparse.ArgumentParser(description='Weights of a checkpoint as a small safetensors file.')
    parser.add_argument('checkpoint', help='checkpoint that training wrote')
    parser.add_argument('out', help='file to write, *.safetensors')
    parser.add_argument('--full', action='store_true', help='keep float32 (default: large tensors in float16)')
    parser.add_argument('--note', nargs='*', default=[], metavar='KEY=VALUE', help='facts to store in the file')
    add_trust(parser)
    add_debug_option(parser)
    args = parser.parse_args(argv)
    wrong = [note for note in args.note if '=' not in note]
    if wrong:
        parser.error(f'--note takes KEY=VALUE, got {wrong[0]!r}')

    from denseclip.weights.publish import publish

    notes = dict(note.split('=', 1) for note in args.note)
    result = publish(args.checkpoint, args.out, half=not args.full, metadata=notes, trust=args.trust)
    print(f'{result.path}  {result.size / 1e6:.2f} MB  sha256 {result.sha256}')


if __name__ == '__main__':
    sys.exit(main())
