"""Run cells one after the other, each in a process of its own, and keep the table up to date."""

from __future__ import annotations

import multiprocessing
import os
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from mmengine.registry import DefaultScope

from denseclip.clip.errors import NoReadOutError
from denseclip.engine.data.samples import absent_data
from denseclip.files.atomic import remove_partial_files

from .cells import Cell
from .evaluate import DONE, FAILED, IMPOSSIBLE, Progress, evaluate_cell
from .table import write_tables, write_towers

CELLS = 'cells'
"""Folder, within the output folder, of the files of cells."""


class GridBusyError(RuntimeError):
    """Another process is writing to the same output folder."""


@dataclass(frozen=True)
class GridOptions:
    """How a grid is run.

    Attributes:
        device: Where models run.
        threads: CPU threads; None leaves PyTorch's choice.
        num_workers: Processes that read pictures.
        save_every: Seconds between saves within a cell.
        isolate: A process for each cell, so that its memory is its own and a crash takes nothing else along.
        restart: Forget earlier results of these cells.
    """

    device: str = 'cpu'
    threads: int | None = None
    num_workers: int = 2
    save_every: float = 20.0
    isolate: bool = True
    restart: bool = False


def run_grid(
    cells: Sequence[Cell],
    out: str | Path,
    options: GridOptions | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> list[Progress]:
    """Run what is not finished yet; the tables are written after every cell.

    Args:
        cells: The cells.
        out: Folder of the results.
        options: How to run.
        say: Takes messages.

    Returns:
        The state of each cell, failed ones included.

    Raises:
        GridBusyError: If another process writes to the folder.
    """
    options, folder = options or GridOptions(), Path(out) / CELLS
    folder.mkdir(parents=True, exist_ok=True)
    with _only_writer(Path(out)):
        remove_partial_files(folder)
        states = []
        for number, cell in enumerate(cells, start=1):
            path = folder / cell.file_name
            if options.restart:
                path.unlink(missing_ok=True)
            say(f'[{number}/{len(cells)}] {cell.title}: {_beginning(path, cell)}')
            state = _finished(path, cell, options)
            say(f'    {_end(state)}')
            states.append(state)
            write_tables(folder, out)
            if len({cell.tower for cell in cells}) > 1:
                write_towers(cells[:number], states, out)
    return states


def _finished(path: Path, cell: Cell, options: GridOptions) -> Progress:
    """The cell's state after running what is left of it."""
    state = Progress.read(path, cell.identity)
    if state.status in (DONE, IMPOSSIBLE):
        return state
    with DefaultScope.overwrite_default_scope('mmseg'):
        absent = absent_data(cell.config['test_dataloader']['dataset'])
    if absent:  # said at once; a process of its own would take seconds to find the same
        elsewhere = f'Data that lie elsewhere: --data-root {cell.set_name}=FOLDER'
        state = replace(state, status=FAILED, error=f'{absent} {elsewhere}')
        state.write(path, cell)
        return state
    if not options.isolate:
        _run(cell, path, options, None)
        return Progress.read(path, cell.identity)
    context = multiprocessing.get_context('spawn')
    process = context.Process(target=_run, args=(cell, path, options, os.getpid()))
    process.start()
    try:
        process.join()
    finally:
        if process.is_alive():  # interrupted from the keyboard
            process.terminate()
            process.join()
    state = Progress.read(path, cell.identity)
    if process.exitcode and state.status not in (FAILED, IMPOSSIBLE):
        how = f'killed by signal {-process.exitcode}' if process.exitcode < 0 else f'exit code {process.exitcode}'
        memory = ' (out of memory?)' if process.exitcode == -9 else ''
        state = replace(state, status=FAILED, error=f'its process ended early: {how}{memory}')
        state.write(path, cell)
    return state


def _run(cell: Cell, path: Path, options: GridOptions, parent: int | None) -> None:
    """Evaluate a cell; an error becomes part of its file."""
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    try:
        evaluate_cell(
            cell,
            path,
            device=options.device,
            num_workers=options.num_workers,
            save_every=options.save_every,
            parent=parent,
        )
    except NoReadOutError as error:
        state = Progress.read(path, cell.identity)
        replace(state, status=IMPOSSIBLE, error=str(error)).write(path, cell)
    except Exception as error:  # one failing cell must not stop a night's grid
        state = Progress.read(path, cell.identity)
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f'{Path(frame.filename).name}:{frame.lineno}'
        replace(state, status=FAILED, error=f'{type(error).__name__} in {where}: {error}').write(path, cell)


def _beginning(path: Path, cell: Cell) -> str:
    state = Progress.read(path, cell.identity)
    if state.status in (DONE, IMPOSSIBLE):
        return 'done before' if state.status == DONE else 'found impossible before'
    if state.done:
        return f'goes on after picture {state.done} of {state.total}'
    if not path.is_file() or state.error:
        return 'starts'
    if Progress.belongs(path, cell.identity):
        return 'was stopped before anything was saved, starts anew'
    return 'settings or weights have changed, starts anew'


def _end(state: Progress) -> str:
    if state.status != DONE:
        return f'{state.status}: {state.error}'
    speed = state.seconds / max(state.done, 1)
    return f'mIoU {state.scores["mIoU"]:.2f} over {state.done} pictures, {speed:.3f} s each'


@contextmanager
def _only_writer(out: Path) -> Iterator[None]:
    """Hold the folder's lock; the system gives it back when this process ends, however it ends."""
    try:
        import fcntl
    except ImportError:  # Windows: two grids in one folder are the user's to avoid
        yield
        return
    with (out / '.lock').open('w') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise GridBusyError(f'another run is writing to {out}; wait for it or choose another --out') from None
        yield
