"""Inspect pictures as they arrive in a folder: each once, by what good pictures said at the beginning."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from denseclip.apis.anomaly_folder import Inspection, Item, agreeing, inspect_pictures
from denseclip.apis.anomaly_output import Written, write_picture, write_tables
from denseclip.apis.anomaly_predictor import AnomalyPredictor
from denseclip.apis.anomaly_result import AnomalyResult
from denseclip.apis.errors import UserError
from denseclip.apis.images import UnreadableImageError
from denseclip.apis.results.formats import Format
from denseclip.files.atomic import write_text
from denseclip.files.locks import LockedError, locked
from denseclip.files.names import readable
from denseclip.files.ours import NOBODYS
from denseclip.files.pictures import image_suffixes, walk
from denseclip.visualization.anomaly_report import Card

STATE = '.denseclip'
_ROOM = 1e-6
"""Part by which scores of the same good pictures may differ between two starts, on other machines or threads."""
_SMALL = 500
"""Pictures up to which the report is written at every look that judged some."""
_REST = 20
"""Times as long as writing took that passes before the report of more pictures is written again."""

Stamp = tuple[int, int]


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Keep other watches out of a folder for results, which would judge everything a second time.

    Raises:
        UserError: If another process watches into it, or it holds anything that no watch has written.
    """
    _check_ours(out)
    state, is_new = out / STATE, not out.exists()
    state.mkdir(parents=True, exist_ok=True)
    try:
        with locked(state):
            yield
            is_new = False
    except LockedError:
        raise UserError(
            f"another process watches into '{out}': wait for its end, or watch into another folder with --out."
        ) from None
    finally:
        if is_new:  # it failed before there was anything to keep
            with suppress(OSError):
                state.rmdir()
                out.rmdir()


def _check_ours(out: Path) -> None:
    state = out / STATE
    if (state / 'watch.json').is_file() or not out.is_dir():
        return
    ours = {*NOBODYS, *([] if state.is_dir() and any(state.iterdir()) else [STATE])}
    if any(path.name not in ours for path in out.iterdir()):
        raise UserError(f"'{out}' holds files that no watch has written; choose another --out.")


class Watch:
    """A folder, and what is known of its pictures.

    Args:
        folder: Where pictures arrive, in folders of any depth.
        out: Where results go; one that was begun goes on. See :func:`alone`, in whose block a watch lives.
        inferencer: The model, which knows its good pictures.
        good: Good pictures that say what is usual; they are not judged.
        threshold: ``'auto'`` or a calibrated score, see :func:`~denseclip.apis.anomaly_folder.inspect_pictures`.
        skipped: Pictures, and folders inside ``folder``, that are not judged.
        object_name: What the pictures show, for the report.
        maps: Also write raw maps.
        formats: Further files of every picture.

    Raises:
        UserError: If no good picture can be told, or ``out`` was begun with others.
    """

    def __init__(
        self,
        folder: Path,
        out: Path,
        inferencer: AnomalyPredictor,
        good: Sequence[Path],
        threshold: str | float = 'auto',
        *,
        skipped: Sequence[Path] = (),
        object_name: str = 'part',
        maps: bool = False,
        formats: Sequence[Format] = (),
    ) -> None:
        self.folder, self.out, self.inferencer = folder, out, inferencer
        self.object_name, self.maps, self.formats = object_name, maps, tuple(formats)
        self._skipped = [path.resolve() for path in (*skipped, out)]
        self._good = {path.resolve() for path in (*good, *skipped)}
        self.found = self._usual(good, threshold)
        self.written: list[Written] = []
        self._judged: set[str] = set()
        self._stems: set[str] = set()
        self._seen: dict[str, Stamp] = {}
        self._broken: dict[str, tuple[Stamp, UnreadableImageError]] = {}
        self._begin()
        self._late = bool(self.written)  # whether the report lacks something: a watch may have been killed
        self._rested = -math.inf

    @property
    def waiting(self) -> list[str]:
        """Why pictures wait that cannot be read (yet)."""
        return [readable(error) for _, error in self._broken.values()]

    def look(self) -> list[Written]:
        """Judge what has arrived, and is the same as at the last look: what is still written waits.

        Returns:
            What was judged now.
        """
        new = []
        arrived = self._arrived()
        self._broken = {key: broken for key, broken in self._broken.items() if key in arrived}
        for key, stamp in arrived.items():
            before, self._seen[key] = self._seen.get(key), stamp
            known = self._broken.get(key)
            if stamp != before or (known is not None and known[0] == stamp):
                continue
            try:
                result = self.inferencer(self.folder / key)
            except UnreadableImageError as error:
                self._broken[key] = (stamp, error)
                continue
            self._broken.pop(key, None)
            assert isinstance(result, AnomalyResult)
            new.append(self._judge(key, result))
        self._late = self._late or bool(new)
        if self._late and (len(self.written) <= _SMALL or time.monotonic() >= self._rested):
            self.report()
        return new

    def report(self) -> list[Path]:
        """Write tables, report and summary of all that was judged."""
        begin = time.monotonic()
        self.found.failures = [error for _, error in self._broken.values()]
        files = write_tables(self.found, self.out, self.object_name, [self.written[i] for i in self.found.order()])
        self._late, end = False, time.monotonic()
        self._rested = end + _REST * (end - begin)
        return files

    def _usual(self, good: Sequence[Path], threshold: str | float) -> Inspection:
        """Calibration and thresholds, from the good pictures alone."""
        found = inspect_pictures(self.inferencer, [Item(path, label=False) for path in good], threshold)
        found.close()
        if not found.items:
            raise found.failures[0]
        found.notes = [f'a good picture is left out: {readable(failure)}' for failure in found.failures]
        found.notes.append('watched: what is usual was told by the good pictures when the watch began')
        found.items, found.raw, found.failures, found.measures = [], [], [], {}
        return found

    def _begin(self) -> None:
        """Take up what was judged before."""
        state = self.out / STATE
        told: dict[str, Any] = {'pictures': asdict(self.found.pictures), 'pixels': asdict(self.found.pixels)}
        told['thresholds'] = {'picture': self.found.thresholds.picture, 'pixel': self.found.thresholds.pixel}
        told['folder'] = str(self.folder.resolve())
        path = state / 'watch.json'
        if path.is_file():
            before = json.loads(path.read_text(encoding='utf-8'))
            if not _same(before, json.loads(json.dumps(told))):
                raise UserError(
                    f"'{self.out}' was begun with other good pictures, another folder or threshold, or another model; "
                    'go on with those, or watch into another folder with --out.'
                )
        else:
            _check_ours(self.out)
            state.mkdir(parents=True, exist_ok=True)
            write_text(path, json.dumps(told))
        lines = state / 'judged.jsonl'
        text = lines.read_text(encoding='utf-8') if lines.is_file() else ''
        whole = [line for line in text.splitlines(keepends=True) if line.endswith('\n')]
        if text != ''.join(whole):  # a power cut has torn the last line: its picture is judged again
            write_text(lines, ''.join(whole))
        for line in whole:
            entry = json.loads(line)
            if entry['key'] in self._judged:  # two watches at a time, as versions without a lock allowed
                continue
            card = {**entry['card'], 'spot': None if entry['card']['spot'] is None else tuple(entry['card']['spot'])}
            self._note(entry['key'], entry['raw'], Written(entry['row'], entry['boxes'], Card(**card)))

    def _note(self, key: str, raw: float, written: Written) -> None:
        if len(self.found.items) == len(self.found.raw):
            self.found.items.append(Item(self.folder / key))
        self.found.raw.append(raw)
        self.written.append(written)
        self._judged.add(key)
        self._stems.add(written.row['name'].casefold())

    def _judge(self, key: str, result: AnomalyResult) -> Written:
        """Judge a picture, write its files, and then note it."""
        found, raw = self.found, float(result.pred_score)
        flagged = bool(found.pictures(raw) >= found.thresholds.picture)
        result = replace(result, pixels=found.pixels, pictures=found.pictures, threshold=found.thresholds.pixel)
        result = agreeing(result, flagged)
        if flagged and found.namer is not None:
            result = replace(result, words=found.namer(result))
        number = len(self.written)
        found.items.append(Item(self.folder / key))
        try:
            written = write_picture(found, number, result, self.out, self._stem(key), self.maps, self.formats, True)
            entry = {'key': key, 'raw': raw, 'row': written.row, 'boxes': written.boxes, 'card': asdict(written.card)}
            with (self.out / STATE / 'judged.jsonl').open('a', encoding='utf-8') as file:
                file.write(json.dumps(entry) + '\n')
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            found.items.pop()
            raise
        self._note(key, raw, written)
        return written

    def _stem(self, key: str) -> str:
        """A name of its own for the files of a picture."""
        plain = readable('_'.join(Path(key).with_suffix('').parts))
        name, number = plain, 1
        while name.casefold() in self._stems:
            number += 1
            name = f'{plain}_{number}'
        return name

    def _arrived(self) -> dict[str, Stamp]:
        """Pictures that were not judged, with size and time of the last change."""
        found = {}
        known = image_suffixes()
        for place, folders, names in walk(self.folder):
            here = Path(place)
            folders[:] = [name for name in folders if (here / name).resolve() not in self._skipped]
            for name in names:
                path = here / name
                key = path.relative_to(self.folder).as_posix()
                if path.suffix.lower() not in known or key in self._judged:
                    continue
                try:
                    about = path.stat()
                except OSError:  # gone again, or renamed
                    continue
                if path.resolve() not in self._good:
                    found[key] = (about.st_size, about.st_mtime_ns)
        return found


def _same(before: Any, now: Any) -> bool:
    """Whether two calibrations are of the same good pictures and the same model."""
    if isinstance(now, dict):
        return isinstance(before, dict) and before.keys() == now.keys() and all(_same(before[k], now[k]) for k in now)
    if isinstance(now, float) and isinstance(before, (int, float)):
        return math.isclose(before, now, rel_tol=_ROOM, abs_tol=_ROOM) or (math.isnan(before) and math.isnan(now))
    return before == now
