"""All tests of a model, in a folder that a stopped run goes on in."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from denseclip.apis.errors import UserError
from denseclip.apis.files import prepare_folder
from denseclip.apis.images import UnreadableImageError
from denseclip.apis.stress.binding import colour_binding
from denseclip.apis.stress.grounds import objects_and_grounds, swapped_grounds
from denseclip.apis.stress.loading import Subject
from denseclip.apis.stress.looking import tally
from denseclip.apis.stress.pictures import Labelled
from denseclip.apis.stress.report import NOT_MEASURED, summary_of, write_report
from denseclip.apis.stress.unknown import folds_of, unknown_classes
from denseclip.datasets.corruptions import CORRUPTIONS, FAMILIES, LEAST_SIDE, SEVERITIES, corrupt
from denseclip.files.atomic import write_text
from denseclip.files.progress import Progress, after_each

RESULTS = 'stress.json'
CLEAN = 'clean'
_FORMAT = 1


@dataclass(frozen=True)
class StressOptions:
    """What is tested.

    Attributes:
        parts: Some of :data:`PARTS`; None: all that the model and the pictures allow, and ``binding``, whose pictures
            are drawn, beside miniworld's pictures alone.
        corruptions: Names of corruptions or of their families; None: all 15.
        severities: 1 to 5; None: all.
        hold_out: Classes that the model is not told of; None: every class once, in four parts.
        objects: Classes that are put on other grounds, separated by ``;``; None: all that are not known as stuff.
        seed: Of all chance.
        force: Begin anew where the folder holds other results.

    Raises:
        UserError: If something is unknown.
    """

    parts: Sequence[str] | None = None
    corruptions: Sequence[str] | None = None
    severities: Sequence[int] | None = None
    hold_out: Sequence[str] | None = None
    objects: str | None = None
    seed: int = 0
    force: bool = False

    def __post_init__(self) -> None:
        for given, known, what in (
            (self.parts, PARTS, 'test'),
            (self.corruptions, (*CORRUPTIONS, *FAMILIES), 'corruption'),
            (self.severities, SEVERITIES, 'severity'),
        ):
            if wrong := [one for one in given or () if one not in known]:
                there = ', '.join(map(str, known))
                raise UserError(f'no {what} is called {", ".join(map(str, wrong))}; there are {there}.')

    @property
    def cells(self) -> list[tuple[str, int]]:
        """The corruptions and severities, in the order of the tables."""
        wanted = CORRUPTIONS if self.corruptions is None else self.corruptions
        names = [n for family, some in FAMILIES.items() for n in some if family in wanted or n in wanted]
        return [(name, severity) for name in names for severity in sorted(set(self.severities or SEVERITIES))]


Cell = Callable[[Callable[[], None] | None], dict[str, Any]]
"""One test: is told what to call after each picture, and gives plain data."""


def stress(
    subject: Subject, out: str | Path, options: StressOptions | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Put a model to the test; what is done already in the folder is not done again.

    Args:
        subject: Model and pictures.
        out: Folder for ``stress.json``, ``stress.md`` and the plots.
        options: What is tested.
        progress: Is told how many pictures of all tests are done.

    Returns:
        The content of ``stress.json``.

    Raises:
        UserError: If the folder holds results of something else, or a class is unknown.
    """
    options = options or StressOptions()
    folder = prepare_folder(out, ())
    content = _begun(folder / RESULTS, subject, options)
    cells = dict(_cells(subject, options))
    asked = options.parts is not None
    done = [key for key, cell in content['cells'].items() if not (asked and NOT_MEASURED in cell)]
    waiting = {key: cell for key, cell in cells.items() if key not in done}
    after = after_each(progress, len(waiting) * len(subject.pictures))
    for key, cell in waiting.items():
        content['cells'][key] = _measured(cell, after, asked=asked or key == CLEAN)
        _write(folder / RESULTS, content)
    content['summary'] = summary_of({key: content['cells'][key] for key in cells})
    _write(folder / RESULTS, content)
    write_report(folder, content)
    return content


def _measured(cell: Cell, after: Callable[[], None] | None, *, asked: bool) -> dict[str, Any]:
    """What a test gives, or, where nobody has asked for it, why the model or the pictures do not allow it."""
    try:
        return cell(after)
    except UserError as error:
        if asked or isinstance(error, UnreadableImageError):
            raise
        return {NOT_MEASURED: str(error)}


def _begun(path: Path, subject: Subject, options: StressOptions) -> dict[str, Any]:
    """What an earlier run of the same tests has left, or the beginning of a new one."""
    identity = f'{subject.identity[:32]}-{options.seed}'
    new = {
        'format': _FORMAT,
        'identity': identity,
        **subject.title,
        'pictures': len(subject.pictures),
        'classes': list(subject.pictures.names),
        'seed': options.seed,
        'cells': {},
    }
    if not path.exists() or options.force:
        return new
    try:
        found = json.loads(path.read_text(encoding='utf-8'))
        same = found['identity'] == identity and found['format'] == _FORMAT
        return {**new, 'cells': dict(found['cells'])} if same else _refuse(path)
    except (ValueError, KeyError, TypeError):
        return _refuse(path)


def _refuse(path: Path) -> dict[str, Any]:
    raise UserError(
        f"'{path}' holds results of another model, other settings, other files or another seed: choose another folder, "
        'or begin anew with --force (force=True).'
    )


def _write(path: Path, content: dict[str, Any]) -> None:
    write_text(path, json.dumps(content, indent=1) + '\n')


def _cells(subject: Subject, options: StressOptions) -> Iterator[tuple[str, Cell]]:
    """All tests that are wanted, by name; the pictures as they are come first."""
    names = subject.pictures.names
    parts = options.parts
    if parts is None:
        parts = [part for part in PARTS if part != 'binding' or subject.pictures.kind.startswith('Miniworld')]
    if options.objects is not None:
        objects_and_grounds(names, options.objects)

    def plain(after: Callable[[], None] | None) -> dict[str, Any]:
        return tally(subject.model, subject.pictures, names, after).to_dict(classes=True)

    yield CLEAN, plain
    if 'corruptions' in parts:
        yield from _corruption_cells(subject, options)
    if 'unknown' in parts:
        yield from _unknown_cells(subject, options)
    if 'grounds' in parts:
        yield 'grounds' + _named(options.objects), partial(swapped_grounds, subject, options.objects, options.seed)
    if 'binding' in parts:
        yield 'binding', partial(colour_binding, subject, options.seed)


def _corruption_cells(subject: Subject, options: StressOptions) -> Iterator[tuple[str, Cell]]:
    small = subject.pictures.smaller_than(LEAST_SIDE) if options.cells else None
    if small is not None and options.parts is not None:
        raise UserError(small)
    for name, severity in options.cells:
        cell: Cell = partial(_corrupted, subject, name, severity, options.seed)
        yield f'corruptions/{name}/{severity}', cell if small is None else partial(_refused, small)


def _unknown_cells(subject: Subject, options: StressOptions) -> Iterator[tuple[str, Cell]]:
    names, named = subject.pictures.names, options.hold_out
    try:
        folds = folds_of(names, named, options.seed)
    except UserError as error:
        if options.parts is not None or named is not None:
            raise
        yield 'unknown', partial(_refused, str(error))
        return
    for number, held in enumerate(folds):
        key = f'fold {number}' if named is None else f'named {"; ".join(names[k] for k in held)}'
        yield f'unknown/{key}', partial(unknown_classes, subject, held)


def _refused(reason: str, after: Callable[[], None] | None) -> dict[str, Any]:
    """A test that the pictures do not allow."""
    raise UserError(reason)


def _named(text: str | None) -> str:
    return '' if text is None else f'/{text}'


def _corrupted(
    subject: Subject, name: str, severity: int, seed: int, after: Callable[[], None] | None = None
) -> dict[str, Any]:
    number = list(CORRUPTIONS).index(name)

    def pictures() -> Iterator[Labelled]:
        for index, one in enumerate(subject.pictures):
            rng = np.random.default_rng([seed, 1, number, severity, index])
            yield replace(one, rgb=corrupt(one.rgb, name, severity, rng))

    return tally(subject.model, pictures(), subject.pictures.names, after).to_dict()


PARTS = ('corruptions', 'unknown', 'grounds', 'binding')
"""Tests beside the pictures as they are."""
