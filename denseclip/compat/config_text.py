"""Configs as text: the one function that every writer of configs goes through.

A config is a program, and before Python reads it MMEngine replaces template marks in its text:
``{{ fileDirname }}``, ``{{ $VARIABLE:default }}``, ``{{ _base_.name }}``. Names that came from a data set must pass
both as what they are: data. :func:`literal` therefore spells values so that the text holds no brace, no quote but those
around a string, no line break inside one, and nothing outside printable ASCII; a name of any characters comes back
exactly as it was.

:func:`install` makes MMEngine's own ``Config.dump`` and ``Config.pretty_text`` write so. Theirs put keys into the text
unquoted, write marks that the next reading replaces, and sort keys, which gives a vocabulary another order. It also
spares reading what made up a third of its time: the temporary copy of each file was written three times, with or
without marks.
"""

from __future__ import annotations

import json
import keyword
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import yaml
from mmengine.config import Config

_WIDTH = 100  # of a value that is written in one line
_PLAIN = frozenset(map(chr, range(0x20, 0x7F))) - frozenset('\'"\\{}')
_host_dump = Config.dump
_REPLACED = ('_substitute_env_variables', '_pre_substitute_base_vars')
"""What MMEngine replaces in the copy of a config, and writes it anew."""


class Name(str):
    """Name of another entry of the config, written without quotes. Only for names in our own code, never from data.

    Raises:
        ValueError: If it is no name.
    """

    def __new__(cls, text: str) -> Name:
        """Check it."""
        if not _is_keyword_argument(text):
            raise ValueError(f'{text!r} is no name of an entry')
        return super().__new__(cls, text)


def config_text(entries: Mapping[Any, Any], *, header: str = '') -> str:
    """A whole config.

    Args:
        entries: What it holds, in this order.
        header: Comment above it, one line of our own words: nothing of the user's.

    Returns:
        Text of a ``.py`` config, ASCII.
    """
    lines = [f'# {header}'] if header else []
    for key, value in entries.items():
        target = key if _is_keyword_argument(key) else f'globals()[{literal(key)}]'
        lines.append(f'{target} = {literal(value)}')
    return '\n'.join(lines) + '\n'


def literal(value: Any, depth: int = 0) -> str:
    """A value as a config spells it: ASCII without braces; short ones in one line.

    Args:
        value: Of the kinds that configs hold: numbers, strings, paths, None, and lists, tuples, sets and mappings of
            them. Anything else is written as the string that describes it, as MMEngine writes classes.
        depth: Levels of indentation of its first line.

    Returns:
        Python source whose value is equal to ``value`` (paths become strings, other mappings dictionaries).
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Name):
        return str(value)
    if isinstance(value, Mapping):
        return _mapping(value, depth)
    if isinstance(value, list):
        return _several('[', [literal(item, depth + 1) for item in value], ']', depth)
    if isinstance(value, tuple):
        return _several('(', [literal(item, depth + 1) for item in value], ',)' if len(value) == 1 else ')', depth)
    if isinstance(value, set | frozenset):
        kind = 'frozenset' if isinstance(value, frozenset) else 'set'
        return _several(f'{kind}([', sorted(literal(item, depth + 1) for item in value), '])', depth)
    return _scalar(value)


def _scalar(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return str(value)
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        return float.__repr__(value) if math.isfinite(value) else f"float('{float.__repr__(value)}')"
    if isinstance(value, bytes):
        return "b'" + ''.join(f'\\x{byte:02x}' for byte in value) + "'"
    if isinstance(value, PurePath):
        value = value.as_posix()
    return "'" + ''.join(map(_character, str(value))) + "'"


def _character(char: str) -> str:
    code = ord(char)
    if char in _PLAIN:
        return char
    if char == '\\':
        return r'\\'
    return f'\\x{code:02x}' if code < 0x100 else f'\\u{code:04x}' if code < 0x10000 else f'\\U{code:08x}'


def _mapping(value: Mapping[Any, Any], depth: int) -> str:
    if all(map(_is_keyword_argument, value)):
        return _several('dict(', [f'{key}={literal(item, depth + 1)}' for key, item in value.items()], ')', depth)
    # ``dict([...])`` and not ``{...}``: two braces in a row begin a template mark
    pairs = [f'({literal(key, depth + 1)}, {literal(item, depth + 1)})' for key, item in value.items()]
    return _several('dict([', pairs, '])', depth)


def _is_keyword_argument(key: Any) -> bool:
    """Whether a key can stand before ``=``. Python turns other letters than ASCII's into their canonical forms."""
    return isinstance(key, str) and key.isascii() and key.isidentifier() and not keyword.iskeyword(key)


def _several(begin: str, items: list[str], end: str, depth: int) -> str:
    inner, outer = '    ' * (depth + 1), '    ' * depth
    line = f'{begin}{", ".join(items)}{end}'
    if not items or (len(line) + len(outer) < _WIDTH and '\n' not in line):
        return line
    return begin + ''.join(f'\n{inner}{item},' for item in items) + f'\n{outer}{end.lstrip(",")}'


# --- MMEngine's own writers ---------------------------------------------------------------------------------------


def install() -> None:
    """Let MMEngine write configs with :func:`config_text`, JSON and YAML without template marks. Idempotent."""
    Config.pretty_text = property(_pretty_text)
    Config.dump = _dump
    for name in _REPLACED:
        step = getattr(Config, name)
        if getattr(step, '__module__', '') != __name__:
            setattr(Config, name, staticmethod(_where_there_are_marks(step)))


def _where_there_are_marks(step: Callable[[str, str], dict[str, Any]]) -> Callable[[str, str], dict[str, Any]]:
    """Let a step that replaces marks leave a file alone which has none."""

    def replace(filename: str, temp_config_name: str) -> dict[str, Any]:
        if filename == temp_config_name and '{{' not in Path(filename).read_text(encoding='utf-8'):
            return {}
        return step(filename, temp_config_name)

    return replace


def _pretty_text(config: Config) -> str:
    """The config as Python."""
    return config_text(config.to_dict())


def _dump(config: Config, file: str | Path | None = None) -> str | None:
    """Write the config to a file (``.py``, ``.json``, ``.yml``, ``.yaml``), or return it as text of its own format."""
    name = str(file or config.filename or 'config.py')
    suffix = Path(name).suffix
    if suffix == '.py':
        text = config_text(config.to_dict())
    elif suffix == '.json':
        text = _json_text(config.to_dict())
    elif suffix in ('.yml', '.yaml'):
        text = _yaml_text(config.to_dict())
    else:
        return _host_dump(config, file)
    if file is None:
        return text
    Path(file).write_text(text, encoding='ascii')
    return None


def _json_text(entries: dict[str, Any]) -> str:
    """JSON in which no two braces follow each other: those of the format never do, those in strings are escaped."""
    text = json.dumps(entries, default=_plain)
    return re.sub(r'\{(?=\{)', r'\\u007b', text)


def _plain(value: Any) -> Any:
    """What JSON can hold of a value that it does not know."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    return list(value) if isinstance(value, set | frozenset | range) else str(value)


def _yaml_text(entries: dict[str, Any]) -> str:
    """YAML in its block style, where two braces in a row stand within strings only; such strings are quoted."""
    text = yaml.dump(entries, Dumper=_Dumper, default_flow_style=False, sort_keys=False, width=math.inf)
    return re.sub(r'\{(?=\{)', r'\\x7b', text)


class _Dumper(yaml.Dumper):
    def string(self, text: str) -> yaml.ScalarNode:
        return self.represent_scalar('tag:yaml.org,2002:str', text, style='"' if '{{' in text else None)


_Dumper.add_representer(str, _Dumper.string)
