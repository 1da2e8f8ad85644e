#!/usr/bin/env python
"""Read the data set of a config as training will: the same as ``denseclip check``."""

import sys

# At module level: worker processes that start by `spawn` import this file before they unpickle anything.
import denseclip  # noqa: F401
from denseclip.cli import check
from denseclip.cli.doors import run_alone
from denseclip.cli.programs import program


@program
def main(argv: list[str]) -> int:
    """Run the tool."""
    return run_alone(check, argv, 'check_dataset.py')


if __name__ == '__main__':
    sys.exit(main())
