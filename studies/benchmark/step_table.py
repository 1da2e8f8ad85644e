"""What the measurements of training steps have in common: their options, and their table."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable

from denseclip.cli.programs import at_least

from .train_step import StepComparison


def step_options(
    about: str | None, config: str, kind: str, *, size: int, batch: int, repeats: int
) -> argparse.ArgumentParser:
    """Options of a measurement.

    Args:
        about: The program's docstring.
        config: The config that is measured by default.
        kind: What configs it takes, for the help.
        size: Side of the pictures by default.
        batch: Pictures per step by default.
        repeats: Rounds that count by default.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', nargs='?', default=config, help=f'config of {kind} (default: %(default)s)')
    parser.add_argument('--size', type=at_least(1), default=size, help='side of the pictures (default: %(default)s)')
    parser.add_argument('--batch', type=at_least(1), default=batch, help='pictures per step (default: %(default)s)')
    parser.add_argument('--repeats', type=at_least(1), default=repeats, help='rounds that count (default: %(default)s)')
    parser.add_argument('--threads', type=at_least(1), help="CPU threads (default: PyTorch's choice)")
    parser.add_argument('--device', default='cpu', help='cpu (default), cuda, cuda:1 ...')
    parser.add_argument('--each', action='store_true', help="also measure each of the reference's parts alone")
    return parser


def print_steps(compare: Callable[..., StepComparison], parts: Iterable[str], *, each: bool) -> float:
    """Measure and print as it goes.

    Args:
        compare: Measures a step with ``parts`` of the reference.
        parts: All of them.
        each: Also measure each alone.

    Returns:
        The largest relative difference of losses.
    """
    print('| reference does besides | ours, ms | reference, ms | ours / reference | losses differ by |')
    print('| --- | ---: | ---: | ---: | ---: |')
    worst = 0.0
    for chosen in [tuple(parts), *([(part,) for part in parts] if each else [])]:
        found = compare(parts=chosen)
        ours, theirs = (found.samples[name].median * 1e3 for name in ('ours', 'reference'))
        print(f'| {", ".join(chosen)} | {ours:.0f} | {theirs:.0f} | {found.ratio:.3f} | {found.difference:.1e} |')
        worst = max(worst, found.difference)
    return worst
