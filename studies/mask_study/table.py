"""Mean and spread over the seeds, and the difference from a reference seed by seed."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from denseclip.files.atomic import write_text

from .variants import VARIANTS

COLUMNS = ('mIoU-unseen', 'mIoU-seen', 'PQ-unseen', 'PQ-seen', 'PQ', 'recall-unseen', 'recall-seen')
"""Scores in the table, percent."""
_REFERENCES = {'methods': 'fcclip', 'start': 'fcclip/longer'}
_NOTE = """
Mean ± standard deviation over the seeds ({seeds}); `n` is their number. `Δ` is the mean difference of unseen mIoU from
the variant named, taken seed by seed. recall: share of true segments that some mask covers with an IoU of at least 0.5,
mean over classes.
"""


def write_table(results: Sequence[Mapping[str, Any]], out: str | Path) -> tuple[Path, Path]:
    """Write ``results.csv``, a line per run, and ``table.md``, a line per variant.

    Args:
        results: Results of runs.
        out: Folder to write into.

    Returns:
        Both files.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(['variant', 'seed', *COLUMNS])
    for result in results:
        writer.writerow([result['variant'], result['seed'], *(result['scores'].get(c, '') for c in COLUMNS)])
    csv_path, md_path = Path(out) / 'results.csv', Path(out) / 'table.md'
    write_text(csv_path, text.getvalue())
    write_text(md_path, markdown(results))
    return csv_path, md_path


def markdown(results: Sequence[Mapping[str, Any]]) -> str:
    """The table of all variants in Markdown."""
    names = list(dict.fromkeys(result['variant'] for result in results))
    head = ['variant', 'what', *COLUMNS, 'Δ', 'n']
    lines = ['| ' + ' | '.join(head) + ' |', '| --- | --- |' + ' ---: |' * (len(head) - 2)]
    for name in names:
        runs = {result['seed']: result['scores'] for result in results if result['variant'] == name}
        cells = [name, VARIANTS[name].about if name in VARIANTS else '']
        cells += [mean_and_spread([scores[column] for scores in runs.values()]) for column in COLUMNS]
        lines.append('| ' + ' | '.join([*cells, _difference(name, results), str(len(runs))]) + ' |')
    seeds = sorted({result['seed'] for result in results})
    return '\n'.join(lines) + '\n' + _NOTE.format(seeds=', '.join(map(str, seeds)))


def mean_and_spread(values: Sequence[float]) -> str:
    """``12.3 ± 0.4``; without the spread for a single value."""
    mean = f'{statistics.fmean(values):.1f}'
    return f'{mean} ± {statistics.stdev(values):.1f}' if len(values) > 1 else mean


def reference(name: str) -> str | None:
    """Variant that another one is compared with: a method with FC-CLIP, a changed choice with the unchanged PMP."""
    variant = VARIANTS[name]
    base = _REFERENCES.get(variant.group, 'pmp-fcclip')
    if name == 'pmp-maft-plus':
        base = 'maft-plus'
    return None if base == name else base


def _difference(name: str, results: Sequence[Mapping[str, Any]]) -> str:
    base = reference(name) if name in VARIANTS else None
    if base is None:
        return '–'
    unseen = {(r['variant'], r['seed']): r['scores']['mIoU-unseen'] for r in results}
    seeds = [seed for variant, seed in unseen if variant == name and (base, seed) in unseen]
    if not seeds:
        return '–'
    return f'{statistics.fmean(unseen[name, s] - unseen[base, s] for s in seeds):+.1f} ({base})'
