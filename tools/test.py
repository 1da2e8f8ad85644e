#!/usr/bin/env python
"""Evaluate a checkpoint: ``python tools/test.py CONFIG [CHECKPOINT] [options]``, as ``denseclip test``."""

import sys

# At module level: worker processes that start by `spawn` import this file before they unpickle anything.
import denseclip  # noqa: F401
from denseclip.cli import test
from denseclip.cli.doors import run_alone
from denseclip.cli.programs import program


@program
def main(argv: list[str]) -> int:
    """Run the tool."""
    return run_alone(test, argv, 'test.py')


if __name__ == '__main__':
    sys.exit(main())
