"""Label maps in folders: which file belongs to which, what the ids are, and what has to be made."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from denseclip.datasets.audit_report import Problem
from denseclip.datasets.converters.layout import ConversionError, complete_or_absent
from denseclip.datasets.files import UnreadableFileError
from denseclip.datasets.label_map_dataset import write_listing
from denseclip.datasets.own_data.class_files import ClassFile, find_class_file
from denseclip.datasets.own_data.data import Conversion, LabelMapData, LabelMapSplit, Pair
from denseclip.datasets.own_data.endings import picture_cores
from denseclip.datasets.own_data.folders import Groups
from denseclip.datasets.own_data.map_files import MapReader
from denseclip.datasets.own_data.map_splits import Part, find_pairs
from denseclip.datasets.own_data.palettes import AUTO, as_class_file, guess, insist
from denseclip.datasets.own_data.survey import in_words, survey

_SAMPLE = 200  # label maps that are read to learn which ids occur; the audit reads all
_UNSAID = {(0, 0, 0): 255, (224, 224, 192): 255}  # black and VOC's border, where no class has that colour


def from_label_maps(folder: Path, groups: Groups, conversion: Conversion) -> LabelMapData:
    """A data set of label maps: its splits, suffixes and ids.

    Label maps of colours, or of ids that do not fit into a byte, are made anew in ``conversion.target``, where the
    listings of splits go too if folders and suffixes alone do not say which file belongs to which. The source stays as
    it is.

    Args:
        folder: The data set.
        groups: Its files.
        conversion: Where made files go; ids that are classes, or none.

    Raises:
        ConversionError: If names do not fit together, no label map can be read, or what has to be made cannot be.
    """
    parts, notes = find_pairs(folder, groups, conversion)
    known = _classes(folder, parts, conversion)
    notes += [f'classes from {known.path}'] if known else []
    ignored = _ignored(conversion, known)
    colours = {**_UNSAID, **known.colours} if known and known.colours else {}
    reader = MapReader(colours, conversion.ids, _narrowed(conversion.ids, ignored))
    ids, as_is = _sample(parts, reader)
    left = tuple(sorted(ids - ({255} - {*conversion.ids}) - {*ignored}))
    data = LabelMapData(
        {}, '', '', left, 255 in ids, reader=reader, look=partial(_findings, parts, reader), notes=tuple(notes)
    )
    if reader.narrowed:
        data = replace(data, class_ids=tuple(range(len(conversion.ids))))
    else:
        data = replace(data, class_ids=conversion.ids, ignored=ignored)
    if known:
        chosen = conversion.ids or tuple(i for i in sorted(known.names) if i not in ignored)
        data = replace(data, names=_names(known, chosen), class_ids=data.class_ids or chosen)
    if conversion.check:
        conversion.check(data)
    return _with_splits(data, parts, conversion, as_is=as_is)


def _findings(parts: Mapping[str, Part], reader: MapReader, known: Collection[int]) -> str:
    return in_words(survey(parts, reader, known))


def _classes(folder: Path, parts: Mapping[str, Part], conversion: Conversion) -> ClassFile | None:
    """What ids or colours mean: as asked for, from a file, or by colours of a known set."""
    if conversion.colors != AUTO:
        return insist(conversion.colors, _spread(parts))
    name = None
    known = find_class_file(folder)
    if known is None:
        name = guess(_spread(parts))
    return as_class_file(name) if name else known


def _spread(parts: Mapping[str, Part]) -> list[Path]:
    """Label maps spread over all splits."""
    paths = [pair.label for part in parts.values() for pair in part.pairs.values() if pair.label.is_file()]
    return paths[:: max(1, len(paths) // _SAMPLE)]


def _ignored(conversion: Conversion, known: ClassFile | None) -> tuple[int, ...]:
    """Ids that are no class, of ids and names."""
    names = {name.casefold(): i for i, name in known.names.items()} if known else {}
    found = []
    for text in conversion.ignore:
        if not text.isdecimal() and text.casefold() not in names:
            listed = f'{known.path} names {", ".join(known.names.values())}' if known else 'give its id'
            raise ConversionError(f'--ignore: no class is called {text!r}; {listed}')
        found.append(int(text) if text.isdecimal() else names[text.casefold()])
    if len({*conversion.ids}) < len(conversion.ids) or min(conversion.ids, default=0) < 0:
        raise ConversionError(
            f'--ids {" ".join(map(str, conversion.ids))}: each class needs an id of its own, 0 or more'
        )
    both = sorted({*found} & {*conversion.ids})
    if both:
        raise ConversionError(f'the id {both[0]} stands in --ids and in --ignore; it can be only one of them')
    return tuple(sorted({*found}))


def _names(known: ClassFile, chosen: Iterable[int]) -> tuple[str, ...]:
    lacking = [i for i in chosen if i not in known.names]
    if lacking:
        raise ConversionError(f'{known.path}: has no class with the id {lacking[0]}')
    return tuple(known.names[i] for i in chosen)


def _narrowed(ids: tuple[int, ...], ignored: tuple[int, ...]) -> dict[int, int]:
    """New ids where some need more than a byte: classes count from 0, what is ignored is 255."""
    if max((*ids, *ignored), default=0) < 256:
        return {}
    kept = {i: place for place, i in enumerate(ids)} if ids else {i: i for i in range(256)}
    return {255: 255} | kept | {i: 255 for i in ignored if ids or i > 255}


def _sample(parts: Mapping[str, Part], reader: MapReader) -> tuple[set[int], bool]:
    """Ids in label maps spread over all splits, and whether training can read the files as they are."""
    ids: set[int] = set()
    errors, as_is, readable = [], True, False
    for path in _spread(parts):
        try:
            found, same = reader.read(path)
        except UnreadableFileError as error:  # the audit names it, with all else that is wrong
            errors.append(error)
            continue
        readable = True
        as_is = as_is and same
        ids.update(np.unique(found).tolist())
    if errors and not readable:
        raise ConversionError(str(errors[0])) from errors[0]
    return ids, as_is


def _with_splits(data: LabelMapData, parts: Mapping[str, Part], conversion: Conversion, *, as_is: bool) -> LabelMapData:
    """Add the splits; make what has to be made."""
    roots = {split: _roots(part) for split, part in parts.items()}
    suffixes = {_suffixes(part, *roots[split]) for split, part in parts.items()}
    plain = next(iter(suffixes)) if len(suffixes) == 1 else None
    splits = {split: LabelMapSplit(*roots[split], tuple(part.pairs.values())) for split, part in parts.items()}
    if as_is and plain:
        return replace(data, splits=splits, picture_suffix=plain[0], label_suffix=plain[1])
    target = conversion.target
    with complete_or_absent(target, sources=[conversion.source], force=conversion.force) as staging:
        for split, part in parts.items():
            whole, problems = splits[split], [*part.problems, *map(_orphan, part.orphans)]
            used, labels = list(whole.pairs), whole.labels
            if not as_is:
                used, found = _make(used, labels, data.reader, staging / 'labels' / split, target / 'labels' / split)
                labels = target / 'labels' / split
                problems += found
            listed = [(_below(pair.picture, whole.pictures), _below(pair.label, labels)) for pair in used]
            write_listing(staging / f'{split}.json', listed, problems)
            splits[split] = replace(whole, labels=labels, listing=target / f'{split}.json')
    done = f'label maps of ids made in {target}' if not as_is else f'lists of pictures and label maps made in {target}'
    return replace(data, splits=splits, notes=(*data.notes, done))


def _make(
    pairs: list[Pair], labels: Path, reader: MapReader, staging: Path, target: Path
) -> tuple[list[Pair], list[Problem]]:
    """Write label maps of one byte a pixel; the pairs with them, and what could not be made."""

    def make(pair: Pair) -> tuple[Pair, Problem | None]:
        if not pair.label.is_file():
            return pair, None
        try:
            ids, _ = reader.read(pair.label)
            if ids.max(initial=0) > 255:
                raise UnreadableFileError(f'{pair.label}: holds the id {ids.max()}, which needs more than a byte')
        except UnreadableFileError as error:
            return pair, Problem('unreadable', f'{error}; mend it and run denseclip new-dataset again')
        name = Path(os.path.relpath(pair.label, labels)).with_suffix('.png')
        (staging / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(ids.astype(np.uint8)).save(staging / name)
        return Pair(pair.picture, target / name), None

    staging.mkdir(parents=True)
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(make, pairs))
    return [pair for pair, problem in done if problem is None], [problem for _, problem in done if problem]


def _orphan(path: Path) -> Problem:
    return Problem('unpaired', f'{path}: has no picture', str(path))


def _roots(part: Part) -> tuple[Path, Path]:
    """The folders that all pictures and all label maps of a split lie below."""
    pictures = os.path.commonpath([pair.picture.parent for pair in part.pairs.values()])
    labels = os.path.commonpath([pair.label.parent for pair in part.pairs.values()])
    return Path(pictures), Path(labels)


def _below(path: Path, root: Path) -> str:
    """A path as a listing writes it: relative to its folder where it lies in it."""
    relative = os.path.relpath(path, root)
    return str(path.absolute()) if relative.startswith('..') else relative


def _suffixes(part: Part, pictures: Path, labels: Path) -> tuple[str, str] | None:
    """Suffixes by which MMSegmentation lists exactly these pairs from the two folders; ``None`` if none do."""
    pairs = [(_below(p.picture, pictures), _below(p.label, labels)) for p in part.pairs.values()]
    picture, label = pairs[0]
    core = next((c for c in picture_cores(picture.removesuffix(Path(picture).suffix)) if label.startswith(c)), None)
    if core is None or not picture.startswith(core) or part.problems:
        return None
    suffix, label_suffix = picture[len(core) :], label[len(core) :]
    if any(not p.endswith(suffix) or label != p.removesuffix(suffix) + label_suffix for p, label in pairs):
        return None
    if any(not path.name.endswith(label_suffix) for path in part.orphans):
        return None
    if _ending_in(pictures, suffix) != {p for p, _ in pairs}:
        return None
    known = {label for _, label in pairs} | {_below(path, labels) for path in part.orphans}
    return (suffix, label_suffix) if _ending_in(labels, label_suffix) <= known else None


def _ending_in(folder: Path, suffix: str) -> set[str]:
    """Files below a folder that end so, relative to it."""
    there = (Path(parent, name) for parent, _, names in os.walk(folder, followlinks=True) for name in names)
    return {_below(path, folder) for path in there if path.name.endswith(suffix) and not path.name.startswith('.')}
