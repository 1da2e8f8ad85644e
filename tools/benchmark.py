#!/usr/bin/env python
"""Measure a model or a part of it: the same as ``denseclip benchmark``.

The word ``model`` may be left out: ``python tools/benchmark.py CONFIG``.
"""

import sys

# At module level: worker processes that start by `spawn` import this file before they unpickle anything.
import denseclip  # noqa: F401
from denseclip.cli import benchmark
from denseclip.cli.doors import run_alone
from denseclip.cli.programs import program


@program
def main(argv: list[str]) -> int:
    """Run the tool."""
    leads = bool(argv) and (argv[0] in benchmark.PARTS or argv[0] in ('-h', '--help'))
    return run_alone(benchmark, argv if leads else ['model', *argv], 'benchmark.py')


if __name__ == '__main__':
    sys.exit(main())
