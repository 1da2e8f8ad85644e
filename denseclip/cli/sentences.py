"""One line for every error: what went wrong, where, and what to do."""

from __future__ import annotations

import ast
import difflib
import os
import re
import sys
import traceback
from pathlib import Path

from denseclip.files.atomic import NO_ROOM
from denseclip.files.names import shown

_PACKAGE = Path(__file__).parents[1]
_UNKNOWN_TYPE = re.compile(r"^'?(?P<name>[\w.]+) is not in the (?P<scope>[\w.]+)::(?P<kind>[\w ]+?) registry")
_TRACEBACK = 'Traceback (most recent call last):\n'
_END_OF_TRACEBACK = re.compile(r'^(?P<kind>[A-Za-z_][\w.]*)(?:: (?P<text>.*))?', re.MULTILINE | re.DOTALL)
_PART = re.compile(r"^cfg should be a dict, ConfigDict or Config, but got <class '(?P<kind>\w+)'>")
_UNTYPED = re.compile(r'^`cfg` or `default_args` must contain the key "type", but got (?P<part>.*)', re.DOTALL)
_LACKS = re.compile(r"^'ConfigDict' object has no attribute '(?P<key>\w+)'")
_NO_CLASSES = re.compile(r"^<class '(?P<name>[\w.]+)'> must implement `get_cat_ids` method")
_ARGUMENT = re.compile(r"^(?P<name>[\w.]+?)(?:\.__init__)?\(\) got an unexpected keyword argument '(?P<key>\w+)'")
_ARGUMENTS = re.compile(r'^(?P<name>[\w.]+)\.__init__\(\) missing \d+ required .*?arguments?: (?P<keys>.+)$')
_LABEL = re.compile(r'^Target (?P<label>-?\d+) is out of bounds|device-side assert triggered')
_MEMORY = re.compile(r'out of memory|not enough memory|DefaultCPUAllocator|Unable to allocate', re.IGNORECASE)
_LOADER = re.compile(r'^DataLoader worker \(pid.*?\) (?:is killed by signal: (?P<by>[^.]+)|exited unexpectedly)')
_BROKEN_ARCHIVE = re.compile(r'inline_container|PytorchStreamWriter|unexpected pos|iostream error')


def one_line(error: BaseException) -> str:
    """The message of an error as one line.

    Messages of the suite, of the operating system and of imports stand alone. What the suite did not foresee also says
    its kind, and how to see more.

    Args:
        error: What was raised. An error of a process that loads data is told by what happened there.

    Returns:
        Text without line breaks, control characters and bytes of file names that are no text as escapes.
    """
    return shown(_one_line(error))


def _one_line(error: BaseException) -> str:
    kind, text = _of_worker(error)
    for rule in RULES:
        sentence = rule(error, text)
        if sentence:
            return ' '.join(sentence.split())
    text = ' '.join(text.split())
    if text and _speaks_for_itself(error):
        return text
    if text and (isinstance(error, ValueError) or (isinstance(error, KeyError) and ' ' in text)):
        return f'{text} ({kind} of {_origin(error)}; --debug shows where)'
    if isinstance(error, AssertionError) and not text:
        text = _failed_line(error)
    return f'unexpected {kind}: {text or "without a message"} (--debug shows where)'


def _of_worker(error: BaseException) -> tuple[str, str]:
    """Kind and text; those of the original where a process that loads data passed an error on with its traceback."""
    kind = type(error).__name__
    # str() of a KeyError is the repr of its only argument.
    text = str(error.args[0]) if isinstance(error, KeyError) and len(error.args) == 1 else str(error)
    if text.startswith('Caught ') and _TRACEBACK in text:
        last = _END_OF_TRACEBACK.search(text.rsplit(_TRACEBACK, 1)[1])  # its frames are indented
        if last:
            return last['kind'].rsplit('.', 1)[-1], last['text'] or ''
    return kind, text


def _system_error(error: BaseException, text: str) -> str | None:
    if not isinstance(error, OSError) or error.errno is None or error.strerror is None:
        return None
    # Copying names the source first, and it is the target that has no room.
    file = error.filename if error.errno not in NO_ROOM or error.filename2 is None else error.filename2
    name = os.fsdecode(file) if isinstance(file, bytes) else file
    where = '' if name is None else f": '{name}'"
    if error.errno in NO_ROOM:
        return f'{error.strerror}{where}; make room on the disk, or write to another one'
    return f'{error.strerror}{where}'


def _missing_package(error: BaseException, text: str) -> str | None:
    """The host stack is not there, or one small package; what another error says of a package stands as it is."""
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return None
    from denseclip.compat.versions import CORE, OPTIONAL, UPSTREAM, require_host_stack

    module = error.name.partition('.')[0]
    try:
        if module in {one.module for one in (*CORE, *UPSTREAM) if one.extra}:
            require_host_stack('this program')
    except ImportError as missing:
        return str(missing)
    known = next((one for one in (*CORE, *UPSTREAM, *OPTIONAL) if one.module == module), None)
    if known is None or known.is_there or not text.startswith('No module named'):
        return None
    return f'this needs {module}, which is not installed: {known.install_command}'


def _unknown_type(error: BaseException, text: str) -> str | None:
    found = _UNKNOWN_TYPE.match(text)
    if found is None:
        return None
    name, kind = found['name'], found['kind']
    near = difflib.get_close_matches(name, _registered(kind), n=3, cutoff=0.6)
    hint = f'did you mean {" or ".join(near)}? Check' if near else 'check'
    return (
        f"the config's type='{name}' is no known {kind}; {hint} the spelling, and whether custom_imports names the "
        'module that defines it'
    )


def _registered(kind: str) -> list[str]:
    """Names in the registry of a kind and in those of the host packages."""
    from denseclip.compat.lean import import_whole

    registry = sys.modules.get('mmengine.registry')
    roots = [value for value in vars(registry).values() if getattr(value, 'name', None) == kind] if registry else []
    names: set[str] = set()
    while roots:
        root = roots.pop()
        if hasattr(root, 'module_dict') and hasattr(root, 'children'):
            import_whole(root._locations)
            names.update(root.module_dict)
            roots.extend(root.children.values())
    return sorted(names)


def _config_part(error: BaseException, text: str) -> str | None:
    """A part of a config that is of the wrong kind, or not there."""
    if found := _PART.match(text):
        return f'a part of the config that must be dict(type=...) is a {found["kind"]} (--debug shows which)'
    if found := _UNTYPED.match(text):
        return f'a part of the config has no type: {found["part"]:.200} (--debug shows where)'
    if found := _LACKS.match(text):
        return f"the config, or a part of it, has no '{found['key']}', which is needed here (--debug shows where)"
    return None


def _arguments(error: BaseException, text: str) -> str | None:
    """Arguments that a class of a config does not take, or lacks."""
    if not isinstance(error, TypeError):
        return None
    if found := _ARGUMENT.match(text):
        return f"{found['name']} takes no argument '{found['key']}'; look for it in the config (--debug shows where)"
    if found := _ARGUMENTS.match(text):
        return f'{found["name"]} needs the arguments {found["keys"]} in the config (--debug shows where)'
    return None


def _balanced(error: BaseException, text: str) -> str | None:
    """MMEngine's ``ClassBalancedDataset`` around a data set that does not say which classes a picture holds."""
    found = _NO_CLASSES.match(text) if isinstance(error, NotImplementedError) else None
    if found is None:
        return None
    return (
        f'ClassBalancedDataset asks which classes each picture holds, and {found["name"].rpartition(".")[2]} does '
        "not say it; use type='LabelMapDataset' with the same folders for label maps, type='NamedCocoDataset' for "
        'boxes, or leave the wrapper out'
    )


_HOSTS = ('mmseg', 'mmdet', 'mmengine', 'mmcv')


def _asserted(error: BaseException, text: str) -> str | None:
    """A check in a host's class that fails without words: who checks what, and the values that do not hold."""
    frames = list(traceback.walk_tb(error.__traceback__)) if isinstance(error, AssertionError) else []
    package = str(frames[-1][0].f_globals.get('__name__', '')).partition('.')[0] if frames else ''
    if package not in _HOSTS:
        return None
    values = frames[-1][0].f_locals
    owner = type(values['self']).__name__ if 'self' in values else frames[-1][0].f_code.co_name
    if text:
        return f'{owner} of {package}: {text} (--debug shows where)'
    line = traceback.extract_tb(error.__traceback__)[-1].line or ''
    if not line.startswith('assert '):
        return None
    needs = line.removeprefix('assert ').rstrip('\\ ')
    given = ', '.join(f'{name} is {values[name]!r:.60}' for name in _names(needs) if _is_plain(values.get(name)))
    but = f', but {given}; look for it in the config' if given else ''
    return f'{owner} of {package} needs {needs}{but} (--debug shows where)'


def _names(expression: str) -> list[str]:
    """Variables in an expression, each once."""
    try:
        tree = ast.parse(expression, mode='eval')
    except SyntaxError:
        return []
    return list(dict.fromkeys(node.id for node in ast.walk(tree) if isinstance(node, ast.Name)))


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int | float | list | tuple | dict)


def _label(error: BaseException, text: str) -> str | None:
    """A label that the model has no class for, as the loss says it."""
    found = _LABEL.search(text)
    if found is None or not isinstance(error, IndexError | RuntimeError):
        return None
    what = (
        f'a label map holds class {found["label"]}, which'
        if found['label']
        else 'most likely a label map holds a class that'
    )
    return (
        f'{what} the model does not have; `denseclip check CONFIG` names such files, and num_classes (or the '
        "model's vocabulary) must fit the data set"
    )


def _memory(error: BaseException, text: str) -> str | None:
    if not isinstance(error, MemoryError) and not (isinstance(error, RuntimeError) and _MEMORY.search(text)):
        return None
    first = text.strip().splitlines()[0] if text.strip() else 'no more to be had'
    return f'out of memory ({first}); use smaller batches, pictures or models, or another device'


def _loader(error: BaseException, text: str) -> str | None:
    """A process that loads data is gone."""
    found = _LOADER.match(text) if isinstance(error, RuntimeError) else None
    if found is None:
        return None
    how = f' ({found["by"]})' if found['by'] else ''
    return (
        f'a process that loads data is gone{how}, most likely for want of memory: use fewer of them (num_workers of '
        "the config's data loaders) or smaller batches; a training goes on with --resume"
    )


def _full_disk(error: BaseException, text: str) -> str | None:
    if not isinstance(error, RuntimeError) or not _BROKEN_ARCHIVE.search(text):
        return None
    return f'a checkpoint could not be written or read whole; is the disk full? ({text.strip().splitlines()[0]})'


RULES = (
    _system_error,
    _loader,
    _missing_package,
    _unknown_type,
    _config_part,
    _arguments,
    _balanced,
    _asserted,
    _label,
    _memory,
    _full_disk,
)
"""What makes a sentence of an error; the first that knows it is taken."""


def _speaks_for_itself(error: BaseException) -> bool:
    """Whether the text alone is a sentence for the user."""
    if type(error).__module__.startswith('denseclip.') or isinstance(error, OSError | ImportError):
        return True
    return isinstance(error, ValueError) and not _raised_elsewhere(error)


def _raised_elsewhere(error: BaseException) -> bool:
    """Whether an error came out of another package: its text was not written for our users."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and _PACKAGE not in Path(frames[-1].filename).parents


def _origin(error: BaseException) -> str:
    """The package that an error came out of."""
    frames = traceback.extract_tb(error.__traceback__)
    parts = Path(frames[-1].filename).parts if frames else ()
    return Path(parts[parts.index('site-packages') + 1]).stem if 'site-packages' in parts[:-1] else 'Python'


def _failed_line(error: BaseException) -> str:
    """The check that failed, as it is written."""
    frames = traceback.extract_tb(error.__traceback__)
    return f'{frames[-1].line} in {Path(frames[-1].filename).name}' if frames else ''
