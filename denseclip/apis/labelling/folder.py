"""Label a folder of pictures: every picture once, whole or not at all, whatever stops the run."""

from __future__ import annotations

import csv
import errno
import io
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from denseclip.apis.batch_sizes import BatchSize
from denseclip.apis.errors import UserError
from denseclip.apis.files import check_out
from denseclip.apis.labelling.layouts import LAYOUTS, Layout
from denseclip.apis.labelling.names import Source, find_pictures, sources
from denseclip.apis.labelling.objects import confidences_of, objects_of
from denseclip.apis.labelling.order import Order, call_options, run_of
from denseclip.apis.labelling.store import Record, Run, Store
from denseclip.apis.pipeline import Beside, Outcome, beside, outcomes
from denseclip.apis.predictor import Predictor
from denseclip.apis.results.sheets import png
from denseclip.files.atomic import replacing
from denseclip.files.names import readable

FAILURES = 'failures.csv'
CONFIDENCES = 'confidences'
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
"""What file systems without symbolic links say: exFAT, some shares."""


@dataclass(frozen=True)
class Labelled:
    """What a run has done.

    Attributes:
        folder: The labelled folder.
        run: How it was begun.
        records: All finished pictures, those of earlier runs among them.
        new: How many of them this run has finished.
        failures: Relative path and reason of each picture that cannot be read.
    """

    folder: Path
    run: Run
    records: tuple[Record, ...]
    new: int
    failures: tuple[tuple[str, str], ...]

    def counts(self) -> dict[str, int]:
        """Objects of each class, in the order of the classes; classes without any are left out."""
        found = Counter(entry.label for record in self.records for entry in record.objects)
        return {name: found[label] for label, name in enumerate(self.run.names) if found[label]}


def label_folder(
    folder: str | Path,
    out: str | Path,
    load: Callable[[], Predictor],
    order: Order,
    *,
    batch: BatchSize | None = None,
    track: Callable[[Iterator[Outcome], int], Iterable[Outcome]] = lambda items, total: items,
) -> Labelled:
    """Label the pictures of a folder, or those that an earlier run has left.

    Args:
        folder: The pictures, in folders of any depth.
        out: Where labels go.
        load: Loads the model, once everything else is known to be in order.
        order: What is asked for.
        batch: How many pictures run together.
        track: Passes outcomes on and shows how many are done.

    Raises:
        UserError: If the folder holds no pictures, ``out`` was begun otherwise or touches ``folder``, or the layout
            cannot hold the classes.
    """
    order.check()
    folder, out = Path(folder), Path(out)
    layout = LAYOUTS[order.layout]
    relatives = find_pictures(folder)
    check_out(out, [folder])
    if out.exists() and not out.is_dir():
        raise UserError(f"--out '{out}' is a file; choose another folder.")
    model = load()
    run = run_of(model, readable(os.path.realpath(folder)), order)
    layout.check(run)
    store = Store(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        with store.alone():
            run = store.begin(run)
            settle(store, layout, run)
            records = store.records()
            known = {record.source: record.name for record in records}
            found = list(sources(folder, relatives, known, _was_split(records)))
            wanted = [source for source in found if source.relative not in known]
            failures: list[tuple[str, str]] = []
            writer = Writer(store, layout, run, order)
            by_path = {source.path: source for source in wanted}
            results = outcomes(model, by_path, batch or BatchSize(), **call_options(model, order))
            with _writing(failures) as work:
                for outcome in track(results, len(wanted)):
                    work.give(lambda outcome=outcome: writer.write(by_path[outcome.path], outcome))  # type: ignore[misc]
            records = finish(store, layout, run)
            write_failures(out, failures)
    except OSError as error:
        name = f" '{error.filename}'" if error.filename else ''
        raise UserError(
            f'cannot write{name}: {error.strerror or error}. What is finished stays; mend that and start the same '
            'command again.'
        ) from error
    return Labelled(out, run, tuple(records), len(wanted) - len(failures), tuple(failures))


def finish(store: Store, layout: Layout, run: Run) -> list[Record]:
    """Write the files of the whole set, as people decided about its objects.

    Args:
        store: The labelled folder.
        layout: Its layout.
        run: How it was begun.

    Returns:
        The pictures, as people decided about them.

    Raises:
        UserError: If somebody has changed such a file since it was written.
    """
    records = store.decided()
    put_set(store, set_files(store, layout, run, records))
    return records


def set_files(store: Store, layout: Layout, run: Run, records: Sequence[Record]) -> dict[str, bytes]:
    """What the files of the whole set are going to hold, once it is clear that they may be written.

    Args:
        store: The labelled folder.
        layout: Its layout.
        run: How it was begun.
        records: The pictures, as people decided about them.

    Raises:
        UserError: If somebody has changed such a file since it was written.
    """
    files = {name: _bytes(content) for name, content in layout.of_set(records, run)}
    store.note_files(files, written=False)
    return files


def put_set(store: Store, files: Mapping[str, bytes]) -> None:
    """Write files of the whole set, see :func:`set_files`."""
    for name, content in files.items():
        put(store.folder / name, content)
    store.note_files(files, written=True)


def _was_split(records: Sequence[Record]) -> bool | None:
    """Whether finished pictures have splits; new ones go on so, whatever lies beside them by now. None: no picture."""
    return any(record.split for record in records) if records else None


def settle(store: Store, layout: Layout, run: Run, files: Mapping[str, bytes] | None = None) -> None:
    """Write the label files of pictures that were decided on and not written yet, and those of the whole set.

    Args:
        store: The labelled folder.
        layout: Its layout.
        run: How it was begun.
        files: Of the whole set, where they are made already.
    """
    pending = store.pending()
    if not pending:
        return
    for record in store.decided():
        if record.name in pending:
            for name, content in layout.of_picture(record, run):
                put(store.folder / name, content)
    if files is None:
        finish(store, layout, run)
    else:
        put_set(store, files)
    store.decide(store.decisions(), pending=())


def put(path: Path, content: bytes | str) -> None:
    """Write a file, whole or not at all; its folder is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        partial.write_bytes(_bytes(content))


def _bytes(content: bytes | str) -> bytes:
    return content.encode('utf-8') if isinstance(content, str) else content


@dataclass(frozen=True)
class Writer:
    """Writes what belongs to a picture; called by threads."""

    store: Store
    layout: Layout
    run: Run
    order: Order

    def write(self, source: Source, outcome: Outcome) -> tuple[str, str] | None:
        """Write a picture's files and then its record; what cannot be read is returned with the reason."""
        if outcome.result is None:
            assert outcome.error is not None
            return readable(source.relative), readable(outcome.error)
        result = outcome.result
        height, width = result.image.shape[:2]
        objects = objects_of(result, self.order.rules, rest=self.run.background)
        record = Record(
            source.relative, source.name, source.file, source.split, (int(height), int(width)), tuple(objects)
        )
        self.check(record)
        self.place(source, lambda: result.image)
        confidences = confidences_of(result) if self.order.confidences else None
        self.keep(record, {} if confidences is None else {f'{CONFIDENCES}/{source.name}.png': png(confidences)})
        return None

    def check(self, record: Record) -> None:
        """Refuse a picture that the layout cannot hold.

        Raises:
            UserError: If it has boxes alone and masks are needed.
        """
        if self.layout.needs_masks and any(entry.code is None for entry in record.objects):
            raise UserError(f'this model finds boxes without masks, which --to {self.layout.name} cannot hold.')

    def keep(self, record: Record, more: Mapping[str, bytes] | None = None) -> None:
        """Write a picture's label files, more files of it, and then its record."""
        self.check(record)
        for name, content in self.layout.of_picture(record, self.run):
            put(self.store.folder / name, content)
        for name, content in (more or {}).items():
            put(self.store.folder / name, content)
        self.store.add(record)

    def place(self, source: Source, pixels: Callable[[], np.ndarray]) -> None:
        """Bring the picture into the folder; ``pixels`` are asked for where it has to be written anew."""
        target = self._target(source)
        if self.order.pictures == 'none':
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.made:
            put(target, png(pixels()))
        elif self.order.pictures == 'copy':
            put(target, source.path.read_bytes())
        elif self.layout.follows_links:
            if not target.is_symlink():
                target.unlink(missing_ok=True)
                _link(source.path.resolve(), target)
        elif not target.exists():
            _one_file(source.path.resolve(), target)

    def copy(self, source: Source, content: bytes) -> None:
        """Bring a picture into the folder that lies in no file of its own."""
        put(self._target(source), content)

    def _target(self, source: Source) -> Path:
        return self.store.folder / self.layout.place(source.file, source.split)


def _link(source: Path, target: Path) -> None:
    """A link to a file, or what :func:`_one_file` makes where the file system knows no links."""
    try:
        target.symlink_to(source)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _one_file(source, target)


def _one_file(source: Path, target: Path) -> None:
    """A second name for a file, or a copy where the file system knows no such names."""
    try:
        target.hardlink_to(source)
    except OSError:
        put(target, source.read_bytes())


def _writing(failures: list[tuple[str, str]]) -> AbstractContextManager[Beside[tuple[str, str] | None]]:
    """Threads that write; what they return is a failure, or None."""

    def note(failed: tuple[str, str] | None) -> None:
        if failed is not None:
            failures.append(failed)

    return beside(note)


def write_failures(out: Path, failures: Sequence[tuple[str, str]]) -> None:
    """Write the table of pictures without labels, each with the reason; without any there is none."""
    path = out / FAILURES
    if not failures:
        path.unlink(missing_ok=True)
        return
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerows([('picture', 'reason'), *sorted(failures)])
    put(path, text.getvalue())
