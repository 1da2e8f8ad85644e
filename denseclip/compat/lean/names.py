"""Which module of a package registers a name, read from the sources without importing them."""

from __future__ import annotations

import ast
import functools
import re
from collections import defaultdict
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

_CALL = 'register_module('
_DECORATED = re.compile(
    r'^@\w+\.register_module\(([^()]*)\)[ \t]*\n(?:@[^\n]*\n)*(?:class|def)[ \t]+(\w+)', re.MULTILINE
)


@dataclass(frozen=True)
class RegisteredNames:
    """Names that a package registers.

    Attributes:
        modules: Name to the modules that register it.
        unclear: Modules that register in another way than by decorators with names that are spelled out.
    """

    modules: dict[str, tuple[str, ...]]
    unclear: tuple[str, ...]


@functools.cache
def registered_names(package: str) -> RegisteredNames:
    """Read the sources of a package; their registries are not told apart.

    Args:
        package: Full name of an importable package or module.
    """
    spec = find_spec(package)
    modules: dict[str, list[str]] = defaultdict(list)
    unclear = []
    for root in (spec.submodule_search_locations or ()) if spec is not None else ():
        for file in sorted(Path(root).rglob('*.py')):
            text = file.read_text(encoding='utf-8', errors='replace')
            calls = text.count(_CALL)
            if not calls:
                continue
            module = _module_name(package, file.relative_to(root))
            names = _names(text)
            if names is None or calls != text.count('.' + _CALL):
                unclear.append(module)
                continue
            for name in names:
                modules[name].append(module)
    return RegisteredNames({name: tuple(homes) for name, homes in modules.items()}, tuple(unclear))


def _names(text: str) -> list[str] | None:
    """All names that a file registers, or None if it does so in other ways, too."""
    found = _DECORATED.findall(text)
    if len(found) != text.count(_CALL):
        return None
    names: list[str] = []
    for arguments, kind in found:
        given = _given(arguments)
        if given is None:
            return None
        names += given or [kind]
    return names


def _given(arguments: str) -> list[str] | None:
    """Names among the arguments of ``register_module``: none means that of the class."""
    call = ast.parse(f'f({arguments})').body[0].value  # type: ignore[attr-defined]
    named = [word.value for word in call.keywords if word.arg == 'name'] + call.args[:1]
    if len(call.args) > 1 or any(word.arg not in ('name', 'force') for word in call.keywords) or len(named) > 1:
        return None
    try:
        values = [ast.literal_eval(value) for value in named]
    except ValueError:
        return None
    if not values or values == [None]:
        return []
    return [values[0]] if isinstance(values[0], str) else list(values[0])


def _module_name(package: str, file: Path) -> str:
    parts = file.with_suffix('').parts
    return '.'.join((package, *(parts[:-1] if parts[-1] == '__init__' else parts)))
