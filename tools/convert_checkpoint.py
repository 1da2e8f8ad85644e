#!/usr/bin/env python
"""Convert a weight file: the same as ``denseclip convert weights``."""

import sys

from denseclip.cli import convert_weights
from denseclip.cli.doors import run_alone
from denseclip.cli.programs import program


@program
def main(argv: list[str]) -> int:
    """Run the tool."""
    return run_alone(convert_weights, argv, 'convert_checkpoint.py')


if __name__ == '__main__':
    sys.exit(main())
