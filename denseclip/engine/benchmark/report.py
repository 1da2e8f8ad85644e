"""Tables of measurements, as text, Markdown and JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

Cell = str | int | float | None


@dataclass
class Table:
    """One table.

    Attributes:
        title: What it is about, with the unit.
        columns: Heads; the first names the rows.
        rows: Cells; None is an empty one.
    """

    title: str
    columns: Sequence[str]
    rows: list[list[Cell]] = field(default_factory=list)

    def add(self, *cells: Cell) -> None:
        """Append a row."""
        self.rows.append(list(cells))

    def markdown(self) -> str:
        """The table in Markdown, columns aligned to be read as plain text too."""
        grid = [list(self.columns), *([_show(cell) for cell in row] for row in self.rows)]
        widths = [max(len(row[i]) for row in grid) for i in range(len(self.columns))]
        lines = [
            '| ' + ' | '.join(_align(c, w, i) for i, (c, w) in enumerate(zip(r, widths, strict=True))) + ' |'
            for r in grid
        ]
        rule = ['-' * w if i == 0 else '-' * (w - 1) + ':' for i, w in enumerate(widths)]
        lines.insert(1, '| ' + ' | '.join(rule) + ' |')
        return '\n'.join(lines)


@dataclass
class Report:
    """What a benchmark found.

    Attributes:
        title: What was measured.
        machine: Where.
        tables: The numbers.
        equal: Whether the plain and the fast version gave the same result; None if they were not compared.
        command: Command line that repeats the measurement.
    """

    title: str
    machine: str
    tables: list[Table] = field(default_factory=list)
    equal: bool | None = None
    command: str = ''

    def table(self, title: str, *columns: str) -> Table:
        """Append an empty table and return it."""
        self.tables.append(Table(title, columns))
        return self.tables[-1]

    def markdown(self) -> str:
        """The report in Markdown."""
        parts = [f'## {self.title}', self.machine]
        if self.command:
            parts.append(f'```\n{self.command}\n```')
        parts += [f'**{table.title}**\n\n{table.markdown()}' for table in self.tables]
        if self.equal is not None:
            parts.append('Results of both versions are equal.' if self.equal else 'RESULTS OF THE TWO VERSIONS DIFFER.')
        return '\n\n'.join(parts) + '\n'

    def write(self, path: str | Path) -> None:
        """Write the report, as JSON if the name ends so, else as Markdown."""
        path = Path(path)
        as_json = path.suffix == '.json'
        path.write_text(json.dumps(asdict(self), indent=1) + '\n' if as_json else self.markdown(), encoding='utf-8')


def _show(cell: Cell) -> str:
    if cell is None:
        return ''
    if isinstance(cell, float):
        return f'{cell:.3g}' if abs(cell) < 100 else f'{cell:,.0f}'
    return f'{cell:,}' if isinstance(cell, int) else cell


def _align(text: str, width: int, column: int) -> str:
    return text.ljust(width) if column == 0 else text.rjust(width)
