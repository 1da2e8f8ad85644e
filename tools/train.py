#!/usr/bin/env python
"""Train a model: ``python tools/train.py CONFIG [options]``, the same as ``denseclip train``."""

import sys

# At module level: worker processes that start by `spawn` import this file before they unpickle anything.
import denseclip  # noqa: F401
from denseclip.cli import train
from denseclip.cli.doors import run_alone
from denseclip.cli.programs import program


@program
def main(argv: list[str]) -> int:
    """Run the tool."""
    return run_alone(train, argv, 'train.py')


if __name__ == '__main__':
    sys.exit(main())
