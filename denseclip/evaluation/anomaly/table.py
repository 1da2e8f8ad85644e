"""Results of all categories and their mean, as text, CSV and JSON, together with how they were measured."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from denseclip.evaluation.anomaly.curve import NAN
from denseclip.evaluation.anomaly.measures import MEASURES

MEAN = 'mean'


@dataclass(frozen=True)
class ResultTable:
    """One row a category.

    Attributes:
        rows: Category to measure to value, 0..1 or NaN.
        protocol: What a number is worth nothing without: resolution, AUPRO mode and so on.
    """

    rows: Mapping[str, Mapping[str, float]]
    protocol: Mapping[str, str] = field(default_factory=dict)

    def mean(self) -> dict[str, float]:
        """Unweighted mean over the categories in which a measure is defined; NaN where it never is."""
        found = {}
        for measure in MEASURES:
            values = [row[measure] for row in self.rows.values() if not math.isnan(row[measure])]
            found[measure] = sum(values) / len(values) if values else NAN
        return found

    def undefined(self) -> dict[str, list[str]]:
        """Measures that are NaN, each with the categories that its mean leaves out."""
        found = {m: [name for name, row in self.rows.items() if math.isnan(row[m])] for m in MEASURES}
        return {measure: names for measure, names in found.items() if names}

    def percent(self) -> dict[str, float]:
        """The means in percent, two decimals, as MMEngine logs them."""
        return {measure: round(100 * value, 2) for measure, value in self.mean().items()}

    def text(self) -> str:
        """A table for people, in percent with one decimal."""
        rows = [*self.rows.items(), (MEAN, self.mean())]
        room = max(len('category'), *(len(name) for name, _ in rows))
        lines = ['  '.join([f'{"category":<{room}}', *MEASURES])]
        for name, row in rows:
            cells = [f'{_percent(row[measure]):>{len(measure)}}' for measure in MEASURES]
            lines.append('  '.join([f'{name:<{room}}', *cells]))
        lines.append('  '.join(f'{key}: {value}' for key, value in self.protocol.items()))
        return '\n'.join(line.rstrip() for line in lines)

    def csv(self) -> str:
        """One line a category and one for the mean, values 0..1 with six decimals, empty where not defined."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator='\n')
        writer.writerow(['category', *MEASURES])
        for name, row in [*self.rows.items(), (MEAN, self.mean())]:
            writer.writerow([name, *('' if math.isnan(row[m]) else f'{row[m]:.6f}' for m in MEASURES)])
        return out.getvalue()

    def json(self) -> str:
        """Everything, values 0..1, null where not defined."""
        rows = {name: _plain(row) for name, row in self.rows.items()}
        content = {'protocol': dict(self.protocol), MEAN: _plain(self.mean()), 'categories': rows}
        return json.dumps(content, indent=1, ensure_ascii=False) + '\n'


def _percent(value: float) -> str:
    return '–' if math.isnan(value) else f'{100 * value:.1f}'


def _plain(row: Mapping[str, float]) -> dict[str, float | None]:
    return {measure: None if math.isnan(row[measure]) else row[measure] for measure in MEASURES}
