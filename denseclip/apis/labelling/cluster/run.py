"""Label a source of any size, or what earlier runs have left of it."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from denseclip.apis.errors import UserError
from denseclip.apis.labelling.cluster.job import Job
from denseclip.apis.labelling.cluster.parts import Letter, all_facts
from denseclip.apis.labelling.cluster.places import LETTERS, TRIES, Place, joined
from denseclip.apis.labelling.cluster.plan import Header, begin, unfinished
from denseclip.apis.labelling.cluster.sources import Source, find_source
from denseclip.apis.labelling.objects import Rules
from denseclip.apis.labelling.order import Order, run_of
from denseclip.apis.labelling.store import Run
from denseclip.apis.predictor import Predictor
from denseclip.apis.segmentation import with_no_class
from denseclip.files.ours import ConversionError, check_apart

LAYOUT = 'parquet'
_LEFT = 3  # shards that may be left before the run ends, and a tenth of those that are finished
_SHOWN = 1000
_NO_PART = 'its part is not there'
Report: TypeAlias = Mapping[str, Any]
"""What became of a shard, see ``JobWorker.report``."""


@dataclass(frozen=True)
class ShardOrder:
    """What is asked of the shards.

    Attributes:
        rules: Which findings become objects.
        shard_size: Pictures of a shard; archives are shards as they are.
        label_maps: Whether rows hold the label map, as a PNG file.
        image_column: Column of pictures in tables, or their ending in archives; None: it is found.
        key_column: Column of keys in tables; None: it is found.
        confidences: Whether rows say how sure the model is of each pixel, as a PNG file, and of all of them.
        model: Options that name the model, as they were given.
        files: What the model is loaded from, see ``same.sums``.
    """

    rules: Rules = Rules()
    shard_size: int = 1000
    label_maps: bool = False
    image_column: str | None = None
    key_column: str | None = None
    confidences: bool = False
    model: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    def options(self) -> dict[str, Any]:
        """Those that change results or the plan, for the record."""
        apart = ('rules', 'model', 'files')
        return {name: value for name, value in vars(self).items() if name not in apart} | vars(self.rules)


@dataclass(frozen=True)
class Sharded:
    """What there is after a run.

    Attributes:
        place: The output.
        header: What it was begun with.
        pictures: Pictures with a row, those of earlier runs among them.
        new: How many of them this run has labelled.
        objects: Objects of each class; classes without any are left out.
        letters: Number of dead letters.
        shown: The first thousand of them.
        left: Shards that are not finished, and why.
    """

    place: Place
    header: Header
    pictures: int
    new: int
    objects: dict[str, int]
    letters: int
    shown: tuple[Letter, ...]
    left: tuple[tuple[int, str], ...]


def label_source(
    named: Sequence[str],
    out: str,
    load: Callable[[], Predictor],
    order: ShardOrder,
    run_shards: Callable[[Job, Sequence[int]], Iterable[Report]],
    *,
    describe: Callable[[], Predictor] | None = None,
    batch: int | str = 1,
    track: Callable[[Iterable[Report], int], Iterable[Report]] = lambda items, total: items,
) -> Sharded:
    """Label pictures in shards.

    Args:
        named: A folder of pictures, or Parquet or tar files and patterns of them; paths or URLs.
        out: Folder or URL of the output.
        load: Loads the model in each actor; can be pickled.
        order: What is asked for.
        run_shards: Runs shards by their numbers, see ``engine.run``.
        describe: Loads the model here, to know its classes; by default ``load``.
        batch: Pictures that run together, or ``auto``.
        track: Passes reports on and shows how many are done.

    Raises:
        UserError: If the source holds nothing, ``out`` was begun otherwise or touches it, or nothing can be labelled.
    """
    source = find_source(named, order.image_column, order.key_column)
    place = Place(out)
    _check_apart(place, source)
    run = describe_run((describe or load)(), source, order)
    header = begin(place, source, run, order.shard_size)
    job = Job(place, source, header.run, order.rules, load, batch, files=order.files)
    shards = unfinished(place, header)
    new = 0
    left: list[tuple[int, str]] = []
    if shards:
        for report in track(run_shards(job, shards), len(shards)):
            if 'fatal' in report:
                raise UserError(f'{report["fatal"]} What is finished stays in {place.url}.')
            new += report.get('new', 0)
            if 'error' in report:
                left.append((report['shard'], report['error']))
                _check_left(left, len(shards), place)
    done, reasons = finish(place, header), dict(left)
    return replace(done, new=new, left=tuple((shard, reasons.get(shard, why)) for shard, why in done.left))


def describe_run(model: Predictor, source: Source, order: ShardOrder) -> Run:
    """What the labels depend on.

    Raises:
        UserError: If the model gives no labels, or more classes than a label map holds.
    """
    named = order.model | ({'files': order.files} if order.files else {})
    found = run_of(model, source.title, Order(rules=order.rules, confidences=order.confidences, model=named))
    if order.label_maps and len(found.names) > 254:
        raise UserError(
            f'label maps of one byte hold 254 classes, here are {len(found.names)}; leave --label-maps out.'
        )
    return replace(found, layout=LAYOUT, options={**order.options(), 'results': model.task})


def finish(place: Place, header: Header) -> Sharded:
    """Count what there is, and write the dead letters of all finished shards into one table."""
    left = set(unfinished(place, header))
    objects: Counter[int] = Counter()
    pictures = count = 0
    shown: list[Letter] = []
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(('key', 'source', 'shard', 'index', 'reason', 'tries'))
    for facts in all_facts(place, (shard for shard in range(header.shards) if shard not in left), header.run):
        pictures += facts.pictures
        objects.update(facts.objects)
        count += len(facts.letters)
        shown += facts.letters[: max(0, _SHOWN - len(shown))]
        writer.writerows(
            (letter.key, letter.source, facts.shard, letter.index, letter.reason, letter.tries)
            for letter in facts.letters
        )
    if count:
        place.put(LETTERS, text.getvalue().encode('utf-8', 'backslashreplace'))
    else:
        place.remove(LETTERS)
    if not left:
        for name in place.names(TRIES):  # of shards whose mark could not be taken away, or that ran twice
            place.remove(f'{TRIES}/{name}')
        place.sweep()
    names = with_no_class(header.run.names)
    counts = {name: objects[label] for label, name in enumerate(names) if objects[label]}
    return Sharded(
        place, header, pictures, 0, counts, count, tuple(shown), tuple((shard, _NO_PART) for shard in sorted(left))
    )


def _check_apart(place: Place, source: Source) -> None:
    """Refuse an output that touches the source.

    Raises:
        UserError: Then.
    """
    system, root = source.system()
    if type(system) is not type(place.system):
        return
    if place.local:
        sources = [Path(root, file) for file, _ in source.files] or [Path(root)]
        try:
            check_apart(Path(place.root), sources)
        except ConversionError as error:
            raise UserError(f'--out: {error}.') from error
        return
    mine = place.root.rstrip('/') + '/'
    theirs = [joined(root, file) for file, _ in source.files] or [root.rstrip('/') + '/']
    if any(path.startswith(mine) or (path.endswith('/') and mine.startswith(path)) for path in theirs):
        raise UserError(f"--out: '{place.url}' and the source lie in one another; choose another place.")


def _check_left(left: list[tuple[int, str]], shards: int, place: Place) -> None:
    """End a run in which nothing goes well.

    Raises:
        UserError: If too many shards could not be labelled.
    """
    if len(left) > _LEFT + shards // 10:
        raise UserError(
            f'{len(left)} shards could not be labelled, the last one because: {left[-1][1]} What is finished stays in '
            f'{place.url}; mend that and start the same command again.'
        )
