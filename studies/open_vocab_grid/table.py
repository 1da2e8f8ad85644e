"""One table of all cells in a folder, as CSV and Markdown, published numbers beside ours."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from denseclip.datasets.open_vocab import LARGE_SETS, SETS, published
from denseclip.files.atomic import write_text

from .cells import Cell
from .evaluate import Progress

COLUMNS = (
    'preset',
    'weights',
    'protocol',
    'set',
    'mIoU',
    'boundary IoU',
    'window seams',
    'published',
    'published under other conditions',
    'pictures',
    'seconds',
    'seconds per picture',
    'peak MiB',
    'device',
    'status',
)
_NOTE = """
`published` has the same method, weights, protocol and set; its source and what else differs: docs/protocols.md.
Numbers in the next column belong to other weights or another protocol and must not be compared. A set that is not
complete ("5 of 1449") can be compared with nothing. `window seams`: share of the pixels seen by two windows that they
label differently, in percent; counted with `--cfg-options model.test_cfg.seams=True`.
"""


def write_tables(cells: str | Path, out: str | Path) -> tuple[Path, Path]:
    """Write ``table.csv`` and ``table.md``.

    Args:
        cells: Folder of the cells' files.
        out: Folder to write into.

    Returns:
        Both files.
    """
    contents = _contents(Path(cells))
    rows = [_row(content) for content in contents] + _spreads(contents)
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)
    csv_path, md_path = Path(out) / 'table.csv', Path(out) / 'table.md'
    write_text(csv_path, text.getvalue())
    write_text(md_path, _markdown(rows))
    return csv_path, md_path


def write_towers(cells: Sequence[Cell], states: Sequence[Progress], out: str | Path) -> Path:
    """Write ``towers.md``: a row for each tower, a column for each method and set.

    Args:
        cells: Cells that were looked at.
        states: What became of them.
        out: Folder to write into.

    Returns:
        The file.
    """
    columns = list(dict.fromkeys((cell.preset, cell.set_name, cell.protocol) for cell in cells))
    several = len({protocol for _, _, protocol in columns}) > 1
    titles = [f'{name}, {place}' + (f' ({protocol})' if several else '') for name, place, protocol in columns]
    notes: dict[str, int] = {}
    found = {}
    for cell, state in zip(cells, states, strict=True):
        text = f'{state.scores["mIoU"]:.2f}' if state.status == 'done' else state.status
        if state.error:
            text += f' [{notes.setdefault(state.error, len(notes) + 1)}]'
        found[cell.tower, (cell.preset, cell.set_name, cell.protocol)] = text
    lines = ['| mIoU | ' + ' | '.join(map(_cell, titles)) + ' |', '|---|' + '---:|' * len(columns)]
    for tower in dict.fromkeys(cell.tower for cell in cells):
        lines.append(f'| {_cell(tower)} | ' + ' | '.join(_cell(found.get((tower, c), '')) for c in columns) + ' |')
    if notes:
        lines += ['', *(f'[{number}] {" ".join(error.split())}  ' for error, number in notes.items())]
    counts = {cell.set_name: state.done for cell, state in zip(cells, states, strict=True) if state.status == 'done'}
    lines += ['', 'Pictures: ' + ', '.join(f'{name} {count}' for name, count in counts.items())] if counts else []
    path = Path(out) / 'towers.md'
    write_text(path, '\n'.join(lines) + '\n')
    return path


def _contents(folder: Path) -> list[dict[str, Any]]:
    """All files of cells, by preset as they first appear in the family, protocol, weights and set."""
    found = [json.loads(path.read_text(encoding='utf-8')) for path in sorted(folder.glob('*.json'))]
    order = [*SETS, *LARGE_SETS]

    def key(content: dict[str, Any]) -> tuple:
        cell = content['cell']
        name = cell['set_name']
        place = order.index(name) if name in order else len(order)
        return cell['preset'], cell['weights'], cell['protocol'], place, name

    return sorted(found, key=key)


def _share(counts: Sequence[int]) -> str:
    """What part of the pixels seen by two windows they label differently, in percent."""
    different, seen = counts
    return f'{100 * different / seen:.1f}' if seen else ''


def _row(content: dict[str, Any]) -> dict[str, str]:
    cell = content['cell']
    name, entry = cell['set_name'], {**SETS, **LARGE_SETS}.get(cell['set_name'])
    exact = published(name, preset=cell['preset'], weights=cell['weights'], protocol=cell['protocol'])
    others = [row for row in published(name, preset=cell['preset']) if row not in exact]
    whole = content['total'] if entry is None else entry.num_pictures  # sets of one's own may have any number
    pictures = f'{content["done"]} of {whole}' if content['done'] != whole else str(whole)
    finished = content['status'] == 'done'
    return {
        'preset': cell['preset'],
        'weights': cell['weights'] + (f' + {Path(cell["checkpoint"]).name}' if cell['checkpoint'] else ''),
        'protocol': cell['protocol'],
        'set': name if entry is None else entry.title,
        'mIoU': f'{content["scores"]["mIoU"]:.2f}' if finished else '',
        'boundary IoU': f'{content["scores"]["mBIoU"]:.2f}' if finished and 'mBIoU' in content['scores'] else '',
        'window seams': _share(content.get('seams', (0, 0))),
        'published': ' / '.join(f'{row.miou[name]:g}' for row in exact),
        'published under other conditions': '; '.join(
            f'{row.miou[name]:g} ({row.weights}, {row.protocol or row.note or "protocol not documented"})'
            for row in others
        ),
        'pictures': pictures,
        'seconds': f'{content["seconds"]:.2f}',
        'seconds per picture': f'{content["seconds"] / content["done"]:.3f}' if content['done'] else '',
        'peak MiB': f'{content["peak_bytes"] / 2**20:.0f}',
        'device': content['device'],
        'status': content['status'] + (f': {content["error"]}' if content['error'] else ''),
    }


def _spreads(contents: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
    """A row for each method that several checkpoints were given of: mean and standard deviation over these."""
    groups: dict[tuple, list[dict[str, Any]]] = {}
    for content in contents:
        cell = content['cell']
        if content['status'] == 'done' and cell['checkpoint']:
            key = (cell['preset'], cell['weights'], cell['protocol'], cell['set_name'], content['done'])
            groups.setdefault(key, []).append(content)
    found = []
    for group in groups.values():
        if len({content['cell']['checkpoint'] for content in group}) < 2:
            continue
        row = _row(group[0])
        row['weights'] = f'{group[0]["cell"]["weights"]} + {len(group)} checkpoints'
        for column, score in (('mIoU', 'mIoU'), ('boundary IoU', 'mBIoU')):
            values = [content['scores'][score] for content in group if score in content['scores']]
            row[column] = f'{mean(values):.2f} ± {stdev(values):.2f}' if len(values) > 1 else ''
        spent = mean(content['seconds'] for content in group)
        row['seconds'], row['seconds per picture'] = f'{spent:.2f}', f'{spent / max(group[0]["done"], 1):.3f}'
        row['peak MiB'] = f'{max(content["peak_bytes"] for content in group) / 2**20:.0f}'
        row['status'] = 'mean ± standard deviation'
        found.append(row)
    return found


def _markdown(rows: list[dict[str, str]]) -> str:
    lines = ['| ' + ' | '.join(COLUMNS) + ' |', '|' + ' --- |' * len(COLUMNS)]
    lines += ['| ' + ' | '.join(_cell(row[column]) for column in COLUMNS) + ' |' for row in rows]
    return '\n'.join(lines) + '\n' + _NOTE


def _cell(text: str) -> str:
    return text.replace('|', '\\|').replace('\n', ' ') or '–'
