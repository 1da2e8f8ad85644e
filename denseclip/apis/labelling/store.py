"""What a labelled folder knows of itself: how it was begun, and a record for every picture that is finished.

Everything lies in the hidden folder ``.denseclip`` of the labelled folder. A record is written after the files of its
picture, so a picture has all of its files or no record, and is labelled again in the latter case.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from denseclip.apis.errors import UserError
from denseclip.apis.labelling.objects import LabelObject
from denseclip.files.atomic import write_text
from denseclip.files.locks import LockedError, locked
from denseclip.files.names import shown
from denseclip.files.ours import NOBODYS

STATE = '.denseclip'
_RUN, _DECISIONS, _WRITTEN, _ENDING = 'run', 'decisions', 'written', '.record'
"""Files of the state have an ending of their own: no reader of data sets takes them for labels."""
FORMAT = 1


@dataclass(frozen=True)
class Record:
    """A finished picture.

    Attributes:
        source: Its path in the folder of pictures, with slashes.
        name: Name of its files, without suffix.
        file: Name of its copy.
        split: ``train``, ``val``, ``test`` or empty.
        size: Height and width, upright.
        objects: What the model found.
    """

    source: str
    name: str
    file: str
    split: str
    size: tuple[int, int]
    objects: tuple[LabelObject, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        objects = [entry.to_json() for entry in self.objects]
        return {**vars(self), 'size': list(self.size), 'objects': objects}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Record:
        """See :meth:`to_json`."""
        height, width = data['size']
        objects = tuple(LabelObject.from_json(entry) for entry in data['objects'])
        return cls(data['source'], data['name'], data['file'], data['split'], (height, width), objects)


@dataclass(frozen=True)
class Run:
    """How a folder was begun; a run with other answers would give other labels.

    Attributes:
        source: Folder of the pictures.
        layout: Name of the layout.
        names: Of the classes, in the order of their labels.
        background: Whether pixels of no class are a class of their own, behind the others.
        words: What the model was asked for, see ``Vocabulary.to_dict``.
        model: Options that name the model.
        options: Options that change labels or files.
    """

    source: str
    layout: str
    names: tuple[str, ...]
    background: bool
    words: Mapping[str, Any]
    model: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tolerance(self) -> float:
        """How far polygons may run from the edges of pixels."""
        return float(self.options.get('tolerance') or 0.0)

    @property
    def id(self) -> str:
        """Tells labelled folders apart."""
        text = json.dumps(self.to_json(), sort_keys=True)
        return hashlib.sha256(text.encode('ascii')).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {'format': FORMAT, **vars(self), 'names': list(self.names)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Run:
        """See :meth:`to_json`."""
        kept = {key: data[key] for key in ('source', 'layout', 'background', 'words', 'model', 'options')}
        return cls(names=tuple(data['names']), **kept)

    def differences(self, other: Run) -> list[str]:
        """What a run that goes on with this one says otherwise, in words.

        Options that one of them does not know yet count as off. The files of the model are compared if this one has
        noted them.
        """
        mine, others = self.to_json(), other.to_json()
        found = [key for key in ('source', 'layout', 'words', 'names', 'background') if mine[key] != others[key]]
        for group in ('model', 'options'):
            keys = sorted({*mine[group], *others[group]})
            found += [key for key in keys if _differs(key, mine[group], others[group])]
        return [_OPTIONS.get(key, '--' + key.replace('_', '-')) for key in found]


def _differs(key: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    if key in old and key in new:
        return old[key] != new[key]
    return bool(old.get(key) or (new.get(key) and key != 'files'))


_OPTIONS = {
    'source': 'the folder of pictures',
    'layout': '--to',
    'names': 'the classes of the model',
    'background': 'the background',
    'words': '--words',
    'files': 'the files of the model',
}


class Store:
    """The state of a labelled folder.

    Args:
        folder: The labelled folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / STATE

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes from changing the folder meanwhile.

        Raises:
            UserError: If another one does.
        """
        self.state.mkdir(parents=True, exist_ok=True)
        try:
            with locked(self.state):
                yield
        except LockedError:
            raise UserError(f"'{self.folder}' is in use by another process; wait for its end.") from None

    def begin(self, run: Run) -> Run:
        """Note how the folder is begun, or see that it was begun in the same way.

        Raises:
            UserError: If it was begun otherwise, or holds anything else.
        """
        known = self.run()
        if known is None:
            strangers = [path.name for path in self.folder.iterdir() if path.name not in {STATE, *NOBODYS}]
            if strangers:
                raise UserError(
                    f"'{self.folder}' holds {shown(min(strangers))}, which 'denseclip label' did not write; choose "
                    'another folder with --out.'
                )
            self._write(_RUN, run.to_json())
            return run
        changed = known.differences(run)
        if changed:
            raise UserError(
                f"'{self.folder}' was begun otherwise ({', '.join(dict.fromkeys(changed))}); go on with what it was "
                'begun with, or label into another folder with --out.'
            )
        return known

    def run(self) -> Run | None:
        """How the folder was begun; None where nothing was labelled."""
        data = self._read(self.state / (_RUN + _ENDING))
        if data is None:
            return None
        if data.get('format') != FORMAT:
            raise UserError(f"'{self.folder}' was labelled by another version of denseclip; label into another folder.")
        return Run.from_json(data)

    def opened(self) -> Run:
        """How the folder was begun.

        Raises:
            UserError: If nothing was labelled there.
        """
        run = self.run() if self.folder.is_dir() else None
        if run is None:
            raise UserError(f"'{self.folder}' was not made by 'denseclip label'; name the folder of its --out.")
        return run

    def add(self, record: Record) -> None:
        """Note that a picture is finished."""
        path = self._place(record.source)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(record.to_json()))

    def records(self) -> list[Record]:
        """Finished pictures, by their names."""
        paths = self.state.glob(f'records/*/*{_ENDING}')
        found = [Record.from_json(data) for data in map(self._read, sorted(paths)) if data is not None]
        return sorted(found, key=lambda record: record.name)

    def decided(self) -> list[Record]:
        """Finished pictures as people decided about them."""
        decisions = self.decisions()
        return [apply_decisions(record, decisions.get(record.name, {})) for record in self.records()]

    def decisions(self) -> dict[str, dict[str, Any]]:
        """By name of the picture and number of the object: a label, or None for what was dropped."""
        return self._decided().get('decisions', {})

    def pending(self) -> frozenset[str]:
        """Names of pictures that were decided on and whose label files do not say so yet."""
        return frozenset(self._decided().get('pending', ()))

    def decide(self, decisions: Mapping[str, Mapping[str, Any]], pending: Iterable[str]) -> None:
        """Note all decisions at once, and whose label files have to be written for them."""
        self._write(_DECISIONS, {'decisions': decisions, 'pending': sorted(pending)})

    def _decided(self) -> dict[str, Any]:
        return self._read(self.state / (_DECISIONS + _ENDING)) or {}

    def note_files(self, files: Mapping[str, bytes], *, written: bool) -> None:
        """Remember what files of the whole set hold, so that nothing that somebody has changed is written over.

        Args:
            files: Contents by name.
            written: Whether they are there by now; otherwise they are about to be, and the old ones may be there still.

        Raises:
            UserError: If a file that is about to be replaced is not as it was written.
        """
        known = self._read(self.state / (_WRITTEN + _ENDING)) or {}
        for name in () if written else files:
            path = self.folder / name
            if path.exists() and _digest(path.read_bytes()) not in known.get(name, ()):
                raise UserError(
                    f"'{path}' was changed since it was written and is not replaced; move it away, or go on in another "
                    'folder.'
                )
        before = {} if written else known
        new = {name: [*before.get(name, ()), _digest(content)] for name, content in files.items()}
        self._write(_WRITTEN, {**known, **new})

    def _place(self, source: str) -> Path:
        name = hashlib.sha256(os.fsencode(source)).hexdigest()
        return self.state / 'records' / name[:2] / (name[2:34] + _ENDING)

    def _write(self, name: str, content: Mapping[str, Any]) -> None:
        write_text(self.state / (name + _ENDING), json.dumps(content))

    def _read(self, path: Path) -> dict[str, Any] | None:
        try:
            return json.loads(path.read_text(encoding='ascii'))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise UserError(
                f"'{path}' cannot be read ({error}); remove it, and its picture is labelled anew."
            ) from error


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def apply_decisions(record: Record, decisions: Mapping[str, Any]) -> Record:
    """A picture as people decided about it.

    Args:
        record: As the model found it.
        decisions: A label for the number of an object, or None to drop it; others stay as they are.
    """
    kept: Sequence[LabelObject] = [
        entry if str(entry.id) not in decisions else entry.of_class(decisions[str(entry.id)])
        for entry in record.objects
        if decisions.get(str(entry.id), entry.label) is not None
    ]
    return replace(record, objects=tuple(kept))
