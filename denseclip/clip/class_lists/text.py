"""Class lists as text: the grammar, and what people write who do not know it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from .data import from_data, once
from .shared_names import own_names
from .structure import ClassList, Group, VocabularyError, by_id, short

_WIDE = str.maketrans({'；': ';', '，': ',', '、': ',', '＝': '='})
_SEPARATORS = (',', '|', ' . ')
_NUMBERED = re.compile(r'(\d{1,9})(?:\s*:\s*|\t\s*|[.)]\s+)(?!\d)(\S.*)')
_COUNTED = re.compile(r'(\d{1,9})[\s,]\s*(?!\d)(\S.*)')
_COLOURED = (
    re.compile(r'(?P<name>[^:]+):(?:\d+,\d+,\d+)?:[^:]*:[^:]*'),  # CVAT's labelmap.txt
    re.compile(r'\d+[\s,]+\d+[\s,]+\d+[\s,]+(?P<name>[^\d\s,].*)'),
    re.compile(r'(?P<name>.*[^\d\s,])[\s,]+\d+[\s,]+\d+[\s,]+\d+'),
)


@dataclass(frozen=True)
class _Part:
    """Text of one class and its line."""

    text: str
    line: int


def parse_grammar(text: str) -> ClassList:
    """Read the plain grammar: ``;`` and lines between classes, ``=`` and ``,`` before further names, nothing else."""
    parts = _parts(text)
    return ClassList(tuple(_group(part.text) for part in parts), tuple(part.line for part in parts))


def parse_text(text: str) -> ClassList:
    """Read text that a person wrote: the grammar, and what else people write who do not know it.

    Raises:
        VocabularyError: If it is JSON that cannot be read.
    """
    text = text.replace('\ufeff', '')
    if text.lstrip()[:1] in ('[', '{'):
        try:
            return from_data(json.loads(text, object_pairs_hook=once))
        except json.JSONDecodeError as error:
            if '"' in text:
                where = f'line {error.lineno}, column {error.colno}'
                raise VocabularyError(f'{where}: no JSON ({error.msg}); mend it, or write "road; sky".') from None
        except VocabularyError:
            raise
        except (RecursionError, ValueError):  # nested without end, or a number of thousands of digits
            raise VocabularyError(
                'this JSON is nested too deeply or holds a number that is too long; write "road; sky".'
            ) from None
    parts, notes = _without_colours(_parts(text.translate(_WIDE)))
    parts, note, ids = _without_ids(parts)
    found = _read_parts(parts, [*notes, *note])
    return replace(found, ids=ids if len(ids) == len(found.groups) else ())


def _read_parts(parts: list[_Part], notes: list[str]) -> ClassList:
    if any('=' in part.text for part in parts):
        odd = [name for name, _ in map(_group, (part.text for part in parts)) if ',' in name]
        if odd:
            notes.append(f'\'{odd[0].strip()}\' is one name; further names of a class follow "=".')
        return ClassList(tuple(_group(part.text) for part in parts), tuple(part.line for part in parts), tuple(notes))
    if len(parts) == 1:
        parts, note = _divided(parts[0])
        return ClassList(tuple((part.text, ()) for part in parts), tuple(part.line for part in parts), (*notes, *note))
    groups, note = _with_commas(parts)
    return ClassList(groups, tuple(part.line for part in parts), (*notes, *note))


def _parts(text: str) -> list[_Part]:
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    parts = [_Part(part, number) for number, line in lines for part in line.split(';')]
    while parts and not parts[-1].text.strip():  # a trailing separator is no empty class
        parts.pop()
    return parts


def _group(text: str) -> Group:
    name, equals, rest = text.partition('=')
    return name, tuple(rest.split(',')) if equals else ()


def _divided(part: _Part) -> tuple[list[_Part], list[str]]:
    """One entry without ``;`` and ``=``: several classes, if it holds what others separate them by."""
    text = part.text.strip()
    separator = next((s for s in _SEPARATORS if s in text), None)
    if separator is None:
        return [part], []
    names = [name.strip() for name in text.removesuffix(separator.rstrip()).split(separator)]
    joined = ', '.join(names[1:3]) + (', ...' if len(names) > 3 else '')
    note = (
        f'"{short(text)}" is read as {len(names)} classes. Write ";" between classes; if all are names of one class, '
        f'write "{names[0]} = {joined}".'
    )
    return [_Part(name, part.line) for name in names], [note]


def _with_commas(parts: Sequence[_Part]) -> tuple[tuple[Group, ...], list[str]]:
    """Several entries without ``=``: what follows a comma is a further name."""
    rows = [part.text.split(',') for part in parts]
    groups = tuple((name, tuple(more)) for name, *more in rows)
    held = [group for group in groups if group[1]]
    if not held:
        return groups, []
    name, more = held[0]
    example = f'{name.strip()} = {", ".join(word.strip() for word in more[:3])}{", ..." if len(more) > 3 else ""}'
    note = (
        f'commas are read as further names of a class ("{example}", {len(held)} in all). If they belong to the names, '
        'give a JSON list.'
    )
    groups, notes = own_names(groups)
    return groups, [note, *notes]


def _without_ids(parts: list[_Part]) -> tuple[list[_Part], list[str], tuple[int, ...]]:
    """Entries ``0:sky``, ``1 wall`` without their ids, which are no names, and the ids."""
    found = [_NUMBERED.fullmatch(part.text.strip()) for part in parts]
    if len(parts) < 2 or not all(found):
        found = [_COUNTED.fullmatch(part.text.strip()) for part in parts]
        ids = [int(match[1]) for match in found if match]
        if len(parts) < 2 or not all(found) or ids != list(range(ids[0], ids[0] + len(ids))) or ids[0] > 1:
            return parts, [], ()
    ids = [int(match[1]) for match in found if match]
    names = [_Part(match[2], part.line) for match, part in zip(found, parts, strict=True) if match]
    return by_id(list(zip(ids, names, strict=True)), lambda part: part.text)


def _without_colours(parts: list[_Part]) -> tuple[list[_Part], list[str]]:
    """Entries of a table of colours, such as CVAT's ``sky:70,130,180::``, without their colours."""
    for pattern in _COLOURED:
        found = [pattern.fullmatch(part.text.strip()) for part in parts]
        if len(parts) > 1 and all(found):
            names = [_Part(match['name'], part.line) for match, part in zip(found, parts, strict=True) if match]
            return names, ['colours are left out, the names beside them are the classes.']
    return parts, []
