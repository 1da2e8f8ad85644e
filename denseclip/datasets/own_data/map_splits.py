"""Pairs of pictures and label maps of a data set, by split."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from denseclip.datasets.audit_report import Problem
from denseclip.datasets.converters.layout import ConversionError, split_by_name
from denseclip.datasets.own_data.data import Conversion, Pair
from denseclip.datasets.own_data.endings import Matches, divide_one_folder, match
from denseclip.datasets.own_data.folders import Group, Groups
from denseclip.datasets.own_data.map_lists import read_lists
from denseclip.datasets.own_data.splits import ALIASES


@dataclass
class Part:
    """One split while it is being put together.

    Attributes:
        pairs: Pictures and label maps by the pictures' names.
        orphans: Label maps without a picture.
        problems: What else an audit has to say.
    """

    pairs: dict[str, Pair] = field(default_factory=dict)
    orphans: list[Path] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def holds_label_maps(groups: Groups) -> bool:
    """Whether there are pictures and label maps."""
    return bool(_sources(groups))


def find_pairs(folder: Path, groups: Groups, conversion: Conversion) -> tuple[dict[str, Part], list[str]]:
    """Pair pictures with label maps and sort them into splits.

    Args:
        folder: The data set.
        groups: Its files.
        conversion: Tells the share to validate on, where nothing says so.

    Returns:
        Parts by split, ``train`` and ``val`` among them; and a line for each decision.

    Raises:
        ConversionError: If names do not fit together, or there is nothing to train on.
    """
    parts, notes = _by_folder(folder, groups), list[str]()
    if '' in parts:
        parts, notes = _by_lists(folder, parts[''])
    if 'train' not in parts:
        raise ConversionError(f'{folder}: found {" and ".join(parts)}, but no train with pictures and label maps')
    if 'val' not in parts and conversion.val_share is not None:
        train = parts['train']
        try:
            names = split_by_name(train.pairs, conversion.val_share)
        except ConversionError as error:
            raise ConversionError(f'{folder}: found no val with pictures and label maps, and {error}') from error
        parts['train'] = Part({n: train.pairs[n] for n in names['train']}, train.orphans, train.problems)
        parts['val'] = Part({name: train.pairs[name] for name in names['val']})
        notes.append(f'no pictures to validate on: {len(names["val"])} of {len(train.pairs)} taken by their names')
    return {split: parts[split] for split in ALIASES if split in parts}, notes


@dataclass(frozen=True)
class _Source:
    """Where one split comes from; ``shared``: from one folder, of pictures or of label maps, for all splits."""

    pictures: Group
    labels: Group
    shared: str = ''


def _sources(groups: Groups) -> dict[str, _Source]:
    """Pictures and label maps by the split that the folders' names say, ``''`` where they say none."""
    pictures = {split: groups.pictures.get(split) or groups.plain.get(split) for split in ('', *ALIASES)}
    if not groups.labels:
        divided = {split: divide_one_folder(group.files, group.twice) for split, group in pictures.items() if group}
        return {split: _Source(Group(own), Group(labels)) for split, (own, labels) in divided.items() if labels}
    found = {}
    for split in ALIASES:
        own, labels = pictures[split], groups.labels.get(split)
        if own and labels:
            found[split] = _Source(own, labels)
        elif labels and pictures['']:
            found[split] = _Source(pictures[''], labels, 'pictures')
        elif own and groups.labels.get(''):
            found[split] = _Source(own, groups.labels[''], 'labels')
    if not found and pictures[''] and groups.labels.get(''):
        found[''] = _Source(pictures[''], groups.labels[''])
    return found


def _by_folder(folder: Path, groups: Groups) -> dict[str, Part]:
    parts: dict[str, Part] = {}
    used: set[Path] = set()
    for split, source in _sources(groups).items():
        if source.pictures.twice:
            one, other = source.pictures.twice[0]
            raise ConversionError(f'{one} and {other} have one name; rename one of them with its label map')
        if source.labels.twice:
            one, other = source.labels.twice[0]
            raise ConversionError(
                f'{one} and {other} are label maps of one name, and nothing says which counts; move one, or its '
                'folder, out of the data set'
            )
        found = _match(folder, source)
        pairs = dict(zip(sorted(source.pictures.files), found.pairs, strict=True))
        used.update(pair.label for pair in found.pairs)
        if source.shared == 'pictures':
            there = set(source.labels.files.values())
            pairs = {name: pair for name, pair in pairs.items() if pair.label in there}
        parts[split] = Part(pairs, found.orphans)
    for part in parts.values():  # of label maps that all splits share
        part.orphans = [path for path in part.orphans if path not in used]
    return parts


def _match(folder: Path, source: _Source) -> Matches:
    """Pairs by whole names; by the last part alone where the folders between differ."""
    pictures, labels = source.pictures.files, source.labels.files
    try:
        return match(pictures, labels)
    except ConversionError as error:
        short = [{name.rpartition('/')[2]: path for name, path in files.items()} for files in (pictures, labels)]
        if [len(files) for files in short] != [len(pictures), len(labels)] or short == [pictures, labels]:
            raise ConversionError(f'{folder}: {error}') from error
        try:
            found = match(*short)
        except ConversionError:
            raise ConversionError(f'{folder}: {error}') from error
    by_picture = {pair.picture: pair for pair in found.pairs}
    return Matches([by_picture[pictures[name]] for name in sorted(pictures)], found.orphans, found.ending)


def _by_lists(folder: Path, whole: Part) -> tuple[dict[str, Part], list[str]]:
    """Split what lies in one folder by the lists of the data set; ``train`` takes all where there is none."""
    listed, problems = read_lists(folder, whole.pairs)
    if not listed:
        return {'train': whole}, []
    notes = [f'{sum(map(len, listed.values()))} of {len(whole.pairs)} pictures are listed, the others are left out']
    if list(listed) == ['val']:  # as fastai lists them
        listed['train'] = [name for name in whole.pairs if name not in set(listed['val'])]
        notes = []
    if '' in listed:
        listed = {'train': listed['']}
    parts = {split: Part({name: whole.pairs[name] for name in sorted(names)}) for split, names in listed.items()}
    next(iter(parts.values())).problems += problems
    return parts, notes if sum(map(len, listed.values())) < len(whole.pairs) else []
