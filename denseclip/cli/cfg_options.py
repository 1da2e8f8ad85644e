"""``--cfg-options KEY=VALUE``: changes of a config from the command line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

_BRACKETS = {'(': ')', '[': ']'}
_HELP = 'override config entries: key.sub=value; lists as [a, b], tuples as (a, b)'


class ConfigOptions(argparse.Action):
    """Values as MMEngine's ``DictAction`` reads them, with blanks inside them kept.

    ``DictAction`` deletes every blank, so that ``object_name="metal nut"`` becomes ``metalnut``, and fails with a
    traceback where ``=`` is missing.
    """

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Add what one use of the option says to the mapping; what comes later wins."""
        options = dict(getattr(namespace, self.dest, None) or {})
        for item in [values] if isinstance(values, str) else values or []:
            key, equals, text = item.partition('=')
            if not equals or key.strip() != key or not all(key.split('.')):
                raise argparse.ArgumentError(self, f'takes KEY=VALUE without blanks around "=", got {item!r}')
            try:
                options[key] = read_value(text)
            except ValueError as error:
                raise argparse.ArgumentError(self, f'{key}: {error}') from error
        setattr(namespace, self.dest, options)


def add_cfg_options(parser: argparse.ArgumentParser, option: str, **more: Any) -> None:
    """Give a parser ``--cfg-options``, or another option that takes ``KEY=VALUE``."""
    settings: dict[str, Any] = dict(nargs='+', action=ConfigOptions, metavar='KEY=VALUE', help=_HELP)
    parser.add_argument(option, **{**settings, **more})


def read_value(text: str) -> Any:
    """A number, ``True``, ``False``, ``None``, a list, a tuple, or text.

    Args:
        text: As typed: ``0.1``, ``[1, 2]``, ``(0.5, 2.0)``, ``1,2``, ``metal nut``.

    Returns:
        The value. Blanks around values and one pair of quotes fall away, blanks within stay.

    Raises:
        ValueError: Brackets do not close.
    """
    text = text.strip().strip('\'"').strip()
    if ',' not in text and text[:1] not in _BRACKETS:
        return _scalar(text)  # brackets within text, as in a path, mean nothing
    parts = _split(text)
    if _is_bracketed(text):
        values = [read_value(part) for part in _split(text[1:-1])] if text[1:-1].strip() else []
        return tuple(values) if text[0] == '(' else values
    return [read_value(part) for part in parts] if len(parts) > 1 or text.endswith(',') else _scalar(text)


def _is_bracketed(text: str) -> bool:
    """Whether the first bracket closes with the last character, and not before."""
    if not text or _BRACKETS.get(text[0]) != text[-1]:
        return False
    depth = 0
    for place, char in enumerate(text):
        depth += (char in _BRACKETS) - (char in _BRACKETS.values())
        if depth == 0:
            return place == len(text) - 1
    return False


def _split(text: str) -> list[str]:
    """Split at commas outside brackets; one comma at the end adds nothing."""
    parts, waiting = [''], []
    for char in text:
        if char in _BRACKETS:
            waiting.append(_BRACKETS[char])
        elif char in _BRACKETS.values() and (not waiting or waiting.pop() != char):
            raise ValueError(f'the brackets of {text!r} do not close')
        if char == ',' and not waiting:
            parts.append('')
        else:
            parts[-1] += char
    if waiting:
        raise ValueError(f'the brackets of {text!r} do not close')
    return parts[:-1] if len(parts) > 1 and not parts[-1].strip() else parts


def _scalar(text: str) -> int | float | bool | str | None:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    if text.lower() in ('true', 'false'):
        return text.lower() == 'true'
    return None if text == 'None' else text
