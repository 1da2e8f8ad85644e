"""The table of a segmentation for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from denseclip.files.names import shown

if TYPE_CHECKING:
    from denseclip.apis.segmentation import ClassArea, Segmentation

_MOST_ABSENT = 20


def format_areas(result: Segmentation) -> str:
    """The classes found in a picture, largest first, with how sure the model is that they are there."""
    from denseclip.apis.segmentation import LEFT_OUT
    from denseclip.structures.word_scores import CALIBRATED, MEANINGS, score_title

    height, width = result.label_map.shape
    areas = sorted(result.areas(), key=lambda area: (-area.pixels, area.label))
    found = [area for area in areas if area.pixels]
    room = max(len('class'), *(len(shown(area.name)) for area in found))
    title = None if result.scores is None else score_title(result.score_kind)
    columns = f'  {"class":<{room}}  {"pixels":>12}  {"share":>8}'
    columns += f'  {title:>11}' if title else ''
    lines = [f'{shown(result.source)}  {width} x {height}', columns + ('  decided by' if result.decided_by else '')]
    lines += [_line(area, room, title is not None, result) for area in found]
    left_out = set(result.left_out)
    absent = [area for area in areas if not area.pixels]
    if result.active is not None:
        absent = [area for area in absent if area.name in result.active]
    lines += _listed('not found', [area for area in absent if area.name not in left_out])
    lines += _listed(LEFT_OUT, [area for area in absent if area.name in left_out])
    lines += result.chosen_lines()
    if title and result.score_kind != CALIBRATED:
        lines.append(f'  {title}: {MEANINGS[result.score_kind or ""]}')
    return '\n'.join(lines)


def _line(area: ClassArea, room: int, scored: bool, result: Segmentation) -> str:
    from denseclip.apis.segmentation import BY_CHANCE
    from denseclip.visualization.legend import format_share

    line = f'  {shown(area.name):<{room}}  {area.pixels:>12,}  {format_share(area.share):>8}'
    if scored:
        line += f'  {"" if area.score is None else f"{area.score:.2f}":>11}'
    if area.name in result.decided_by:
        line += f'  {result.decided_by[area.name]}'
    return f'{line}  {BY_CHANCE}' if area.by_chance else line.rstrip()


def _listed(title: str, areas: list[ClassArea]) -> list[str]:
    """One line of names with their scores, if there are any."""
    if not areas:
        return []
    names = [shown(a.name) + ('' if a.score is None else f' ({a.score:.2f})') for a in areas[:_MOST_ABSENT]]
    more = f' and {len(areas) - _MOST_ABSENT} more' if len(areas) > _MOST_ABSENT else ''
    return [f'  {title}: {", ".join(names)}{more}']
