"""What came of the tests: numbers in a few words, tables, plots."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from denseclip.datasets.corruptions import FAMILIES
from denseclip.evaluation.reliability import Reliability
from denseclip.files.atomic import write_text
from denseclip.files.names import shown

Cells = Mapping[str, Mapping[str, Any]]
NOT_MEASURED = 'not measured'
"""Key of the reason why a test gave nothing."""


def corrupted_cells(cells: Cells) -> dict[str, dict[int, Mapping[str, Any]]]:
    """Results by corruption and severity, in the order of the tables."""
    found: dict[str, dict[int, Mapping[str, Any]]] = {}
    for name in (name for family in FAMILIES.values() for name in family):
        given = {int(severity): cell for severity, cell in _of(cells, f'corruptions/{name}').items()}
        if given:
            found[name] = dict(sorted(given.items()))
    return found


def _of(cells: Cells, part: str) -> dict[str, Mapping[str, Any]]:
    """Results of one test that were measured, by the rest of their names."""
    mine = {key: cell for key, cell in cells.items() if key == part or key.startswith(f'{part}/')}
    return {key[len(part) + 1 :]: cell for key, cell in mine.items() if NOT_MEASURED not in cell}


def summary_of(cells: Cells) -> dict[str, Any]:
    """The few numbers that stand for all.

    Args:
        cells: Results by test.

    Returns:
        ``mIoU``, ``ECE`` of the pictures as they are; ``mIoU_corrupted``, ``relative_drop`` (mean over corruptions and
        severities of the part of the mIoU that is lost, percent) and ``ECE_corrupted``; means of the other tests.
    """
    clean = cells['clean']
    found: dict[str, Any] = {'mIoU': clean['mIoU'], 'ECE': clean['ECE']}
    corrupted = [cell for row in corrupted_cells(cells).values() for cell in row.values()]
    if corrupted:
        found['mIoU_corrupted'] = fmean(cell['mIoU'] for cell in corrupted)
        found['ECE_corrupted'] = fmean(cell['ECE'] for cell in corrupted)
        if clean['mIoU']:
            found['relative_drop'] = 100 * (1 - found['mIoU_corrupted'] / clean['mIoU'])
    for score in ('max', 'entropy'):
        values = [cell['AUROC'][score] for cell in _of(cells, 'unknown').values()]
        values = [value for value in values if value is not None]
        if values:
            found[f'unknown_AUROC_{score}'] = fmean(values)
    for part, keys in (('grounds', ('usual', 'foreign')), ('binding', ('right', 'binding'))):
        for cell in list(_of(cells, part).values())[-1:]:
            found |= {f'{part}_{key}': cell[key] for key in keys if cell[key] is not None}
    return found


def write_report(folder: Path, content: Mapping[str, Any]) -> None:
    """Write ``stress.md``, and plots of what there is.

    Args:
        folder: Where.
        content: What ``stress.json`` holds.
    """
    from denseclip.visualization.stress_plots import draw_corruptions, draw_reliability

    cells = content['cells']
    write_text(folder / 'stress.md', markdown(content))
    rows = corrupted_cells(cells)
    draw_reliability(folder / 'reliability.png', _reliabilities(cells))
    if rows:
        scores = {name: {s: cell['mIoU'] for s, cell in row.items()} for name, row in rows.items()}
        draw_corruptions(folder / 'corruptions.png', scores, cells['clean']['mIoU'])


def _reliabilities(cells: Cells) -> dict[str, Reliability]:
    """Of the pictures as they are, and of all corrupted ones by severity."""
    found = {'as they are': Reliability.of(cells['clean']['reliability'])}
    for row in corrupted_cells(cells).values():
        for severity, cell in row.items():
            one = Reliability.of(cell['reliability'])
            total = found.setdefault(f'severity {severity}', Reliability())
            total.count += one.count
            total.confidence += one.confidence
            total.right += one.right
    return found


def markdown(content: Mapping[str, Any]) -> str:
    """The report as text."""
    cells = content['cells']
    who = shown(content['model']) + (f', {shown(content["preset"])}' if content.get('preset') else '')
    lines = [f'# {who} on {shown(content["data"])}', '']
    lines += [f'{content["pictures"]} pictures, {len(content["classes"])} classes, seed {content["seed"]}', '']
    lines += ['| | |', '|---|---:|', *(f'| {_TITLES[k]} | {v:.{_DIGITS[k]}f} |' for k, v in content['summary'].items())]
    lines += ['', *_corruption_table(cells), *_calibration_table(cells), *_unknown_table(cells)]
    lines += [*_ground_table(cells), *_binding_table(cells), *_notes(cells)]
    return '\n'.join(lines).rstrip() + '\n'


_TITLES = {
    'mIoU': 'mIoU',
    'ECE': 'calibration error (ECE, 0..1)',
    'mIoU_corrupted': 'mIoU, mean over corruptions and severities',
    'ECE_corrupted': 'calibration error of corrupted pictures',
    'relative_drop': 'part of the mIoU that is lost, percent',
    'unknown_AUROC_max': 'AUROC of unknown classes, by the best probability',
    'unknown_AUROC_entropy': 'AUROC of unknown classes, by entropy',
    'grounds_usual': 'mIoU of objects pasted on the usual ground of their class',
    'grounds_foreign': 'mIoU of the same objects pasted on a foreign ground',
    'binding_right': 'pixels of two things that get their own phrase, of four; percent',
    'binding_binding': 'of the pixels with the right noun, those with the right colour, too; percent',
}
_DIGITS = {key: 3 if key.startswith('ECE') else 1 for key in _TITLES}


def _corruption_table(cells: Cells) -> list[str]:
    rows = corrupted_cells(cells)
    if not rows:
        return []
    severities = sorted({s for row in rows.values() for s in row})
    clean = cells['clean']['mIoU']
    lines = [
        f'| mIoU | {" | ".join(map(str, severities))} | lost, percent |',
        f'|---|{"---:|" * (len(severities) + 1)}',
    ]
    for name, row in rows.items():
        values = ' | '.join(f'{row[s]["mIoU"]:.1f}' if s in row else '' for s in severities)
        lost = 100 * (1 - fmean(cell['mIoU'] for cell in row.values()) / clean) if clean else 0.0
        lines.append(f'| {name} | {values} | {lost:.0f} |')
    return [*lines, '']


def _calibration_table(cells: Cells) -> list[str]:
    lines = ['| calibration | ECE | confidence minus accuracy |', '|---|---:|---:|']
    for name, one in _reliabilities(cells).items():
        lines.append(f'| {name} | {one.error():.3f} | {one.overconfidence():+.3f} |')
    return [*lines, '']


def _unknown_table(cells: Cells) -> list[str]:
    rows = list(_of(cells, 'unknown').values())
    if not rows:
        return []
    lines = ['| classes left out of the words | AUROC, best probability | AUROC, entropy |', '|---|---:|---:|']
    for row in rows:
        values = ['' if row['AUROC'][key] is None else f'{row["AUROC"][key]:.1f}' for key in ('max', 'entropy')]
        lines.append(f'| {shown("; ".join(row["classes"]))} | {" | ".join(values)} |')
    return [*lines, '']


def _ground_table(cells: Cells) -> list[str]:
    lines = []
    for cell in _of(cells, 'grounds').values():
        head = '| object | usual ground | IoU | foreign ground | IoU | difference | objects |'
        lines += [head, '|---|---|---:|---|---:|---:|---:|']
        for name, row in cell['classes'].items():
            one, other = row['usual'], row['foreign']
            lines.append(
                f'| {shown(name)} | {shown(one["ground"])} | {one["IoU"]:.1f} | {shown(other["ground"])} | '
                f'{other["IoU"]:.1f} | {one["IoU"] - other["IoU"]:+.1f} | {row["objects"]} |'
            )
        error = cell.get('standard_error')
        apart = f'{cell["difference"]:+.1f}' + ('' if error is None else f' ± {error:.1f}')
        lines += [f'| mean | | {cell["usual"]:.1f} | | {cell["foreign"]:.1f} | {apart} | |', '']
    return lines


def _binding_table(cells: Cells) -> list[str]:
    lines = []
    for cell in _of(cells, 'binding').values():
        lines += ['| phrase that pixels of a thing get | percent |', '|---|---:|']
        lines += [f'| {_PHRASES[name]} | {cell[name]:.1f} |' for name in _PHRASES]
        lines.append('')
    return lines


_PHRASES = {
    'right': 'its own: "red mug"',
    'other colour': 'its noun, the other colour: "blue mug"',
    'other noun': 'its colour, the other noun: "red fish"',
    'other thing': 'that of the other thing: "blue fish"',
}


def _notes(cells: Cells) -> list[str]:
    """Why something was not measured; each reason once."""
    reasons = {cell[NOT_MEASURED]: key.split('/')[0] for key, cell in cells.items() if NOT_MEASURED in cell}
    return [f'Not measured: {part} ({shown(reason)})' for reason, part in reasons.items()]
