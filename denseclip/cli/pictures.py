"""What commands do with pictures: look, write beside it, say in their order, and list what could not be read."""

from __future__ import annotations

import argparse
import functools
import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from denseclip.cli.options import check_output
from denseclip.cli.programs import report_failures
from denseclip.cli.talk import emit, note_left_out, remark
from denseclip.files.names import readable, shown

if TYPE_CHECKING:
    from denseclip.apis.pipeline import Outcome
    from denseclip.apis.predictor import Predictor
    from denseclip.apis.results.base import Result


def run_pictures(
    args: argparse.Namespace,
    kind: str,
    load: Callable[[], Predictor],
    ready: Callable[[Any], None] = lambda model: None,
    **options: Any,
) -> int:
    """Results of every picture that can be read, then a list of those that cannot.

    Args:
        args: ``images``, ``out``, ``formats``, ``force``, ``json``, ``batch_size`` and ``output``, where JSON goes.
        kind: Kind of the results.
        load: Loads the model, once everything else is known to be in order.
        ready: Called with the model before the first picture.
        **options: Of the model's calls.

    Returns:
        Exit code: 2 if a picture could not be read.

    Raises:
        UserError: If results cannot be written, or would be among the pictures, or there is no picture.
    """
    from denseclip.apis.batch_sizes import BatchSize
    from denseclip.apis.files import check_out, prepare_folder
    from denseclip.apis.images import UnreadableImageError
    from denseclip.apis.inputs import expand_inputs
    from denseclip.apis.pipeline import beside, outcomes
    from denseclip.apis.results.formats import chosen_formats
    from denseclip.cli.progress import track
    from denseclip.files.stems import output_stems

    check_output(args)
    rows = chosen_formats(kind, args.formats)
    paths = expand_inputs(args.images)
    note_left_out(args.images)
    stems = output_stems(paths)
    folder = None
    if args.out is not None:
        # A folder inside one of pictures is none of its pictures; the same one would be read with the next call.
        same = [Path(item) for item in args.images if Path(item).is_dir()]
        check_out(args.out, [path for path in same if path.resolve() == Path(args.out).resolve()])
        folder = prepare_folder(args.out, [stem + row.ending for stem in stems for row in rows], args.force)
    model = load_aloud(load)
    ready(model)
    failures: list[UnreadableImageError] = []

    def say(done: tuple[Outcome, list[Path]]) -> None:
        outcome, written = done
        if outcome.error is not None:
            failures.append(outcome.error)
            if args.json:
                emit(args.output, {'source': readable(outcome.path), 'error': readable(outcome.error)})
        elif outcome.result is not None:
            remark(f'{outcome.path}: {outcome.seconds:.2f} s')
            _say(args, outcome.result, written)

    found = outcomes(model, paths, BatchSize(args.batch_size), **options)
    with beside(say) as work:
        for outcome, stem in track(zip(found, stems, strict=True), len(paths), 'looking at pictures'):
            work.give(functools.partial(_write, outcome, folder, stem, args.formats))
    return report_failures(failures, len(paths))


def _write(outcome: Outcome, folder: Path | None, stem: str, formats: str | None) -> tuple[Outcome, list[Path]]:
    """Write what was found in a picture, if anything was and if there is a folder for it."""
    if outcome.result is None or folder is None:
        return outcome, []
    return outcome, outcome.result.save(folder, stem, force=True, formats=formats)


def load_aloud(load: Callable[[], Predictor]) -> Predictor:
    """Load a model behind a sign of life, and say what it is to those who want to know."""
    from denseclip.cli.progress import busy

    start = time.perf_counter()
    with busy('loading the model'), _nothing_to_collect():
        model = load()
    parameters = list(model.model.parameters()) if hasattr(model.model, 'parameters') else []
    where = parameters[0].device if parameters else 'cpu'
    remark(
        f'{type(model.model).__name__}, {sum(p.numel() for p in parameters) / 1e6:.1f} M parameters, {where}, '
        f'{model.precision}, loaded in {time.perf_counter() - start:.1f} s'
    )
    return model


@contextmanager
def _nothing_to_collect() -> Iterator[None]:
    """Without the search for garbage, which takes a tenth of a start: what imports and models make stays.

    In a process that is the command's own it is not searched afterwards, either.
    """
    from denseclip.compat.lean import is_lean

    searched = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if is_lean():
            gc.freeze()
        if searched:
            gc.enable()


def _say(args: argparse.Namespace, result: Result, written: list[Path]) -> None:
    if args.json:
        emit(args.output, {**result.to_dict(), 'files': [readable(file) for file in written]})
        return
    print(f'\n{result.summary()}\n  written: {", ".join(map(shown, written))}')
