"""What every converter needs: checks that name files, and a target folder that appears complete or not at all."""

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from denseclip.datasets.files import UnreadableFileError, picture_size, read_label_map
from denseclip.files.atomic import NO_ROOM
from denseclip.files.ours import ConversionError, check_apart, check_replaceable, record
from denseclip.files.scratch import ScratchFolder, exit_on_signals, sweep

MAX_NAMED = 10
"""How many files an error message lists before it only counts the rest."""


@contextmanager
def complete_or_absent(target: Path, *, sources: Iterable[Path] = (), force: bool = False) -> Iterator[Path]:
    """Write a folder so that ``target`` is either complete or as before, whatever happens in between.

    Args:
        target: Folder to appear; a symbolic link means the folder that it leads to.
        sources: What is read for it.
        force: Replace ``target`` when it exists and we made all of it; the old one goes only after the new one is
            complete.

    Yields:
        A new empty folder beside ``target`` to write into.

    Raises:
        ConversionError: If ``target`` is, contains or lies inside a source; if it exists and ``force`` is not set, or
            holds anything that this program did not make; or if it cannot be written beside it.
    """
    real = check_apart(target, sources)
    prefix = f'.{_short(real.name)}.new-'
    sweep(real.parent, prefix, partial(_put_back, target=real))
    check_replaceable(real, force=force)
    try:
        scratch = ScratchFolder(real.parent, prefix)
    except OSError as error:
        raise ConversionError(f'cannot write to {real.parent} ({error.strerror}); choose another target') from error
    with exit_on_signals(), scratch:
        new = scratch.path / 'new'
        try:
            new.mkdir()
            yield new
            _check_links(new, real)
            record(new)
        except OSError as error:
            _name_target(error, new, real)
            raise
        check_replaceable(real, force=force)  # again: the work may have taken hours
        try:
            if real.exists():
                real.rename(scratch.path / _REPLACED)
            new.rename(real)
        except BaseException:
            _put_back(scratch.path, real)
            raise


_REPLACED = 'replaced'


def _name_target(error: OSError, new: Path, target: Path) -> None:
    """Let an error name what was to be written where it will be, not where it would have been until then."""
    if error.errno in NO_ROOM and error.filename is None:  # writes into an open file name none
        error.filename = str(target)
    for key in ('filename', 'filename2'):
        name = getattr(error, key)
        if isinstance(name, str | os.PathLike) and Path(name).is_relative_to(new):
            setattr(error, key, str(target / Path(name).relative_to(new)))


def _put_back(scratch: Path, target: Path) -> None:
    """Undo a replacement that did not come to its end."""
    replaced = scratch / _REPLACED
    if replaced.exists() and not os.path.lexists(target):
        replaced.rename(target)


def _check_links(new: Path, target: Path) -> None:
    """Refuse links to what is about to be replaced."""
    if target.exists():
        for path in new.rglob('*'):
            if path.is_symlink() and path.resolve().is_relative_to(target):
                raise ConversionError(f'{path.resolve()} would be linked to and replaced; choose another target')


def _short(name: str) -> str:
    """A name that leaves room for a prefix and an ending."""
    return name if len(os.fsencode(name)) < 200 else hashlib.sha256(os.fsencode(name)).hexdigest()


def place(source: Path, destination: Path, *, link: bool) -> None:
    """Copy one file, or with ``link`` make a symbolic link to it."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    if link:
        destination.symlink_to(source.resolve())
    else:
        shutil.copyfile(source, destination)


def split_by_name(names: Iterable[str], val_share: float) -> dict[str, list[str]]:
    """Divide pictures into those to train on and those to validate on.

    The choice hangs on the names alone: the same on every machine, and adding a picture moves few others.

    Args:
        names: Names of pictures.
        val_share: Part to validate on, between 0 and 1; at least one picture of each kind remains.

    Returns:
        ``train`` and ``val``, each sorted.

    Raises:
        ConversionError: If there are fewer than two pictures or the share is out of range.
    """
    if not 0 < val_share < 1:
        raise ConversionError(f'a share of {val_share} to validate on is not between 0 and 1')
    ranked = sorted(set(names), key=lambda name: hashlib.sha256(name.encode(errors='surrogatepass')).digest())
    if len(ranked) < 2:
        raise ConversionError('one picture cannot be divided into training and validation')
    count = min(max(round(val_share * len(ranked)), 1), len(ranked) - 1)
    return {'train': sorted(ranked[count:]), 'val': sorted(ranked[:count])}


def check_pair(image: Path, label: Path, num_ids: int) -> str | None:
    """Look at one picture and its label map.

    Args:
        image: The picture.
        label: Its label map.
        num_ids: Ids 0 to ``num_ids - 1`` are allowed.

    Returns:
        What is wrong, naming the file, or ``None``.
    """
    try:
        size, labels = picture_size(image), read_label_map(label)
    except UnreadableFileError as error:
        return str(error)
    message = f'{label}: size {labels.shape} differs from its picture {size.upright} (height, width)'
    fault = size.fault(labels.shape, message)
    if fault:
        return fault
    if labels.max() >= num_ids:
        wrong = sorted({int(i) for i in labels[labels >= num_ids]})
        return f'{label}: ids {wrong[:MAX_NAMED]} are not within 0..{num_ids - 1}'
    return None


def raise_if_any(problems: list[str], source: Path) -> None:
    """Raise one :class:`ConversionError` that lists the first problems and counts the rest."""
    if problems:
        rest = f'\n  ... and {len(problems) - MAX_NAMED} more' if len(problems) > MAX_NAMED else ''
        listed = '\n  '.join(problems[:MAX_NAMED])
        raise ConversionError(f'{source}: {len(problems)} problem(s), nothing was written:\n  {listed}{rest}')
