"""Configs of shared models: plain JSON, read from strangers, and therefore looked at before anything is built.

A config of MMEngine names what is called: a ``type`` with dots is imported, whatever it is. Here a type must be the
suite's own or on a list of parts of the hosts, and nothing may ask for imports or for trust.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from denseclip.apis.errors import UserError
from denseclip.apis.pretrained_types import HOST_TYPES, OWN, UNREGISTERED, found_types
from denseclip.compat.addresses import is_address
from denseclip.files.shared_folder import CONFIG, LIBRARY
from denseclip.version import __version__

WEIGHTS, CARD = 'model.safetensors', 'README.md'
_SCOPES = ('mmseg', 'mmdet', 'mmengine', 'mmpretrain')
_REFUSED = ('custom_imports', '_scope_', '_base_', 'trust')
_LEFT_OUT = ('init_cfg',)  # how to begin a training: it may name files, and weights come from the folder
_TUPLES = 'tuples'
_DEEPEST = 60


def encoded(content: Mapping[str, Any]) -> str:
    """A config as JSON; where tuples were is said beside it, since JSON has none.

    Raises:
        UserError: If it holds what is no data, such as a class in place of its name.
    """
    places: list[str] = []
    plain = _plain(content, '', places)
    head = {'library': LIBRARY, 'version': __version__}
    return json.dumps({**head, **plain, _TUPLES: places}, indent=1, ensure_ascii=False) + '\n'


def _plain(value: Any, place: str, tuples: list[str]) -> Any:
    if isinstance(value, Mapping):
        kept = {str(key): item for key, item in value.items() if key not in _LEFT_OUT}
        return {key: _plain(item, f'{place}/{key}', tuples) for key, item in kept.items()}
    if isinstance(value, list | tuple):
        if isinstance(value, tuple):
            tuples.append(place)
        return [_plain(item, f'{place}/{number}', tuples) for number, item in enumerate(value)]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, str) and is_address(value) and place.startswith('/model/'):
        raise UserError(
            f"the config cannot be shared: '{place[1:]}' is the address {value:.80}, which loading the "
            'model would ask; build the model with a file in its place.'
        )
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise UserError(
        f"the config cannot be shared: '{place[1:]}' is {type(value).__name__}, and JSON holds text, numbers, lists "
        'and dictionaries; name classes by text in the config.'
    )


def decoded(path: Path) -> dict[str, Any]:
    """Read a config and refuse what it must not ask for.

    Raises:
        UserError: If it is none of ours, damaged, or asks for code.
    """
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"'{path}' cannot be read as JSON ({error}): download it again.") from error
    if not isinstance(content, dict) or content.get('library') != LIBRARY or not isinstance(content.get('model'), dict):
        raise UserError(
            f"'{path}' is no model of this suite (save_pretrained() writes them); a CLIP is named by clip= or --clip."
        )
    check(content, str(path))
    places = content.pop(_TUPLES, [])
    tuples = frozenset(place for place in places if isinstance(place, str)) if isinstance(places, list) else frozenset()
    return _with_tuples(content, '', tuples)


def _with_tuples(value: Any, place: str, tuples: frozenset[str]) -> Any:
    if isinstance(value, dict):
        kept = {key: item for key, item in value.items() if key not in _LEFT_OUT}
        return {key: _with_tuples(item, f'{place}/{key}', tuples) for key, item in kept.items()}
    if isinstance(value, list):
        items = [_with_tuples(item, f'{place}/{number}', tuples) for number, item in enumerate(value)]
        return tuple(items) if place in tuples else items
    return value


def check(content: Mapping[str, Any], name: str) -> None:
    """Refuse a config that asks for more than the suite's own parts and the listed ones of the hosts.

    Args:
        content: The config.
        name: What errors call it.

    Raises:
        UserError: If it does.
    """
    scope = content.get('default_scope', 'mmseg')
    if scope not in _SCOPES:
        raise UserError(f"'{name}' asks for the scope {scope!r:.60}: {', '.join(_SCOPES)} are allowed.")
    for place, mapping in _mappings(content, ''):
        for key in _REFUSED:
            if mapping.get(key):
                raise UserError(
                    f"'{name}' asks for '{key}' in '{place or 'the config'}', which could run code: refused."
                )
        for key, value in mapping.items():
            steps = [*place.split('/')[1:], key]
            if isinstance(value, str) and is_address(value) and steps[0] == 'model' and not set(_LEFT_OUT) & set(steps):
                raise UserError(f"'{name}' asks for the address {value:.80} in '{place[1:]}/{key}': refused.")
        if isinstance(mapping.get('class_weight'), str):  # the hosts' losses take text for a file, and unpickle it
            raise UserError(
                f"'{name}' gives 'class_weight' in '{place or 'the config'}' as text, which names a file: refused. A "
                'list of numbers is allowed.'
            )
        if 'type' in mapping and 'init_cfg' not in place.split('/'):
            _check_type(mapping['type'], f'{place}/type'.lstrip('/'), name, str(scope))


def _mappings(value: Any, place: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if place.count('/') > _DEEPEST:
        raise UserError(f'a config is no deeper than {_DEEPEST} levels.')
    if isinstance(value, Mapping):
        yield place, value
        for key, item in value.items():
            yield from _mappings(item, f'{place}/{key}')
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _mappings(item, f'{place}/{number}')


def _check_type(kind: Any, place: str, name: str, scope: str) -> None:
    """Refuse a type that is not allowed; one with dots would be imported and called, whatever it is."""
    refusal = f"'{name}' asks for {kind!r:.80} as '{place}', which is no registered part of a model: refused."
    if not isinstance(kind, str):
        raise UserError(refusal)
    if kind in UNREGISTERED:
        return
    prefix, dot, last = kind.rpartition('.')
    if (dot and prefix not in _SCOPES) or not last.isidentifier() or _is_module(last):
        raise UserError(refusal)
    found = found_types(last, prefix or scope)
    if not found:
        raise UserError(refusal)
    for part in sorted(found - HOST_TYPES):
        package = part.partition('.')[0]
        if package != OWN:
            raise UserError(
                f"'{name}' asks for '{kind}' of {package} as '{place}', which no model of this suite is made of: "
                'refused, since it could read files or run code. If you trust those who wrote it, give its files as '
                f"config='{CONFIG}' and weights='{WEIGHTS}' (--config, --weights)."
            )


def _is_module(name: str) -> bool:
    """Whether a name could be imported, which a registry tries with names that it does not know."""
    return name in sys.builtin_module_names or importlib.util.find_spec(name) is not None
