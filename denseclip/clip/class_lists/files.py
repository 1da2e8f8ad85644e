"""Class lists in files. Nothing else of this package opens one, and nothing calls this but what was given a path."""

from __future__ import annotations

import codecs
import csv
import io
import re
from pathlib import Path

from .data import from_data
from .structure import ClassList, VocabularyError
from .text import parse_grammar, parse_text

LIST_SUFFIXES = ('.txt', '.csv', '.tsv', '.json', '.yaml', '.yml', '.names')
"""Endings of files that hold class lists."""

_NAME_COLUMNS = ('name', 'class', 'class_name', 'classname', 'label_name', 'category', 'label')


def read_list(path: Path, plain: bool = False) -> ClassList:
    """Read a file: text with one class a line and ``#`` before comments, JSON, YAML or CSV.

    Args:
        path: The file.
        plain: Whether it is text in the plain grammar (:func:`parse_grammar`), whatever it looks like.

    Raises:
        FileNotFoundError: If there is no such file.
        VocabularyError: If it cannot be read; the message names the file and, where there is one, the line.
    """
    if not path.is_file():
        raise FileNotFoundError(f"class list '{path}' does not exist; write one class a line into it.")
    try:
        text = _decode(path.read_bytes())
        if plain:
            return parse_grammar(_without_comments(text))
        suffix = path.suffix.lower()
        if suffix in ('.yaml', '.yml'):
            return _from_yaml(text)
        if suffix == '.json' and text.lstrip()[:1] not in ('[', '{'):
            raise VocabularyError('line 1: no JSON list; give ["road", "sky"] or {"car": ["automobile"], "sky": []}.')
        if text.lstrip()[:1] in ('[', '{'):
            return parse_text(text)
        if suffix in ('.csv', '.tsv'):
            text = _names_column(text)
        return parse_text(_without_comments(text))
    except VocabularyError as error:
        raise VocabularyError(f'{path}: {error}', error.position) from None


def _without_comments(text: str) -> str:
    """The lines without comments; a class keeps its line number, empty lines hold no class."""
    lines = [re.sub(r'(^|\s)#.*', '', line).strip() for line in text.splitlines()]
    return '\n'.join(lines)


def _decode(data: bytes) -> str:
    """UTF-8, or UTF-16 with its mark; other encodings cannot be told apart."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            return data.decode('utf-16')
        except UnicodeDecodeError:
            raise VocabularyError('the file begins as UTF-16 and is none; save it as UTF-8.') from None
    if b'\0' in data:
        line = data[: data.index(b'\0')].count(b'\n') + 1
        raise VocabularyError(f'line {line}: no text in UTF-8 (it holds zero bytes); save the list as UTF-8.')
    try:
        return data.decode('utf-8-sig')
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b'\n') + 1
        bad = data[error.start : error.start + 1].hex()
        raise VocabularyError(
            f'line {line}: no UTF-8 (byte 0x{bad}). Save the list as UTF-8, for example by '
            '"iconv -f latin1 -t utf-8 OLD > NEW" if it is in Latin-1.'
        ) from None


def _from_yaml(text: str) -> ClassList:
    import yaml

    try:
        return from_data(yaml.safe_load(text))
    except yaml.YAMLError as error:
        mark = getattr(error, 'problem_mark', None)
        where = f'line {mark.line + 1}, column {mark.column + 1}: ' if mark else ''
        raise VocabularyError(f'{where}no YAML: {getattr(error, "problem", None) or "it cannot be parsed"}.') from None


def _names_column(text: str) -> str:
    """The column of names of a table with a heading, line by line; other tables as lines with commas."""
    lines = text.splitlines()
    delimiter = next((d for d in '\t;,' if lines and d in lines[0]), ',')
    try:
        rows = list(csv.reader(io.StringIO(text), delimiter=delimiter))
    except csv.Error as error:
        raise VocabularyError(f'no table of values: {error}; write one class a line.') from None
    heading = [cell.strip().casefold() for cell in rows[0]] if rows else []
    column = next((heading.index(name) for name in _NAME_COLUMNS if name in heading), None)
    if column is None or len(heading) < 2:
        return '\n'.join(','.join(row) for row in rows) if delimiter != ',' else text
    # One line each, the heading's left empty; what a cell holds is a name, whatever is in it.
    return '\n'.join(['', *(row[column] if len(row) > column else '' for row in rows[1:])])
