"""A config for somebody's own data: recognise the layout, adapt one of the suite's configs, look through the data."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine.config import Config

from denseclip.apis.errors import UserError
from denseclip.apis.files import write_file
from denseclip.apis.zoo import ours
from denseclip.clip.class_entry import plain_name
from denseclip.clip.vocabulary import Vocabulary, VocabularyError, typed_vocabulary
from denseclip.compat.config_text import Name, config_text
from denseclip.datasets.own_data import BoxData, LabelMapData, recognise
from denseclip.engine.config import load_config
from denseclip.files.progress import Progress
from denseclip.visualization.palette import palette_for

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from denseclip.datasets.audit import Report
    from denseclip.datasets.own_data import Reading
    from denseclip.datasets.perfect import PerfectScore

BASES = {
    'boxes': 'configs/denseclip/denseclip_retinanet_efficientnet-lite0_fpn_bccd-384x288.py',
    'label maps': 'configs/denseclip/denseclip_fpn_efficientnet-lite0_camvid-320x400.py',
}
"""Configs that run on any machine: ImageNet trunk and sentence encoder from packages."""
_NO_CLASS = ('void', 'ignore', 'ignored', 'unlabeled', 'unlabelled', 'no class', 'none')
_SPLITS = ('train', 'val', 'test')
_LONG_SIDE = 640  # of pictures in a detector's config, unless the base is another


@dataclass(frozen=True)
class NewDataset:
    """What :func:`new_dataset` made.

    Attributes:
        config: The config file.
        data: The data set as it was recognised.
        vocabulary: Classes and their words.
        reports: Findings of the label audit by split.
        perfect: What the truth scores as predictions, by split, where the audit found nothing wrong.
        notes: What was decided and done on the way, a line each.
    """

    config: Path
    data: BoxData | LabelMapData
    vocabulary: Vocabulary
    reports: dict[str, Report]
    perfect: dict[str, PerfectScore]
    notes: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether training can start."""
        return all(found.ok for found in (*self.reports.values(), *self.perfect.values()))


def new_dataset(
    folder: str | Path,
    out: str | Path,
    *,
    classes: Any = None,
    base: str | Path | None = None,
    force: bool = False,
    progress: Progress | None = None,
    **reading: Unpack[Reading],
) -> NewDataset:
    """Write a config that trains on a folder of somebody's own data, and audit the data through it.

    Args:
        folder: Boxes (COCO, VOC-XML, YOLO, labelme, CVAT, Datumaro, Label Studio, FiftyOne) or label maps in folders;
            see :func:`denseclip.datasets.own_data.recognise`.
        out: The config to write; it refers to the base by a relative path.
        classes: Words of the classes, in any form that ``Vocabulary.of`` knows. For label maps they are needed, in the
            order of the ids, unless a file such as ``labelmap.txt`` says them; for boxes the names in the files are
            used. Words stand for the names in files that they, or their further names, are equal to; where none is,
            for those in the same order, which is noted.
        base: Config to start from, one with boxes for boxes; by default one that needs no GPU and no download.
        force: Overwrite ``out``, and files of an earlier run that have to be made again.
        progress: Called by the audit with the number of samples that it has looked at, and of all if it is known.
        **reading: How the folder is read, see :class:`~denseclip.datasets.own_data.data.Reading`.

    Returns:
        What was made.

    Raises:
        UserError: If the classes do not fit the data, the base does not fit, or ``out`` exists and may not be
            overwritten.
        ConversionError: If the layout is not recognised or files are damaged.
    """
    from denseclip.datasets.audit import audit_split
    from denseclip.datasets.perfect import score_perfect_model

    out = Path(out)
    if out.suffix != '.py':
        raise UserError(f"'{out}' is no config: give a name that ends in .py")
    _check_out(out, base, force=force)
    words = given_words(classes)  # before anything is converted
    data = recognise(folder, force=force, check=partial(fitted, words=words), **with_ids(reading, words))
    vocabulary, told = fitted(data, words)
    of_maps = reading.get('ids') or reading.get('ignore') or reading.get('colors', 'auto') != 'auto'
    if isinstance(data, BoxData) and of_maps:
        raise UserError('--ids, --ignore and --colors are for label maps, but the folder is read as boxes; see --kind')
    kind = 'boxes' if isinstance(data, BoxData) else 'label maps'
    base_file = Path(base) if base else ours(BASES[kind])
    entries = {'_base_': _relative_base(base_file, out)}
    entries |= _changes(load_config(base_file.absolute()), data, vocabulary, own_base=base is not None)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_file(out, config_text(entries, header=f'Config for {kind}, {_HEADER}'))
    config = Config.fromfile(out.absolute())
    reports, perfect = {}, {}
    truth = data.truth(len(vocabulary)) if isinstance(data, LabelMapData) else None
    for split in data.splits:
        reports.update(dict(audit_split(config, split, progress=progress)))
        score = score_perfect_model(config, split, truth=truth) if reports[split].ok else None
        perfect.update({split: score} if score else {})
    return NewDataset(out, data, vocabulary, reports, perfect, (*_notes(data, vocabulary), *told))


_HEADER = 'written by `denseclip new-dataset`. Change it as you like.'


def _check_out(out: Path, base: str | Path | None, *, force: bool) -> None:
    """Refuse to overwrite anything but a config of ours, and that only where it is asked for."""
    if base is not None and out.resolve() == Path(base).resolve():
        raise UserError(f"'{out}' is the base itself; choose another name for the new config")
    if not os.path.lexists(out):
        return
    if not force:
        raise UserError(f"'{out}' exists; choose another name, or overwrite it with --force")
    try:
        with out.open(encoding='utf-8', errors='replace') as file:
            ours = _HEADER in file.readline()
    except OSError:
        ours = False
    if not ours:
        raise UserError(f"'{out}' was not written by denseclip new-dataset and is not overwritten; choose another name")


def typed_classes(text: str | None) -> tuple[Vocabulary | None, tuple[str, ...]]:
    """What ``--classes`` names, and how it was read; see :func:`denseclip.clip.vocabulary.typed_vocabulary`.

    Raises:
        UserError: If it cannot be used.
    """
    if text is None:
        return None, ()
    try:
        return typed_vocabulary(text)
    except (VocabularyError, FileNotFoundError) as error:
        raise UserError(f'--classes: {error}') from error


def given_words(classes: Any) -> Vocabulary | None:
    """Words that somebody gives to classes; None: none are given.

    Raises:
        UserError: If they cannot be used.
    """
    try:
        return None if classes is None else Vocabulary.of(classes)
    except VocabularyError as error:
        raise UserError(f'--classes: {error}') from error


def with_ids(reading: Reading, words: Vocabulary | None) -> Reading:
    """How a folder is read, with the ids of a list such as ``7: road`` for label maps, unless others are asked for."""
    if words is None or not words.ids or reading.get('ids') or words.ids == tuple(range(len(words))):
        return reading
    return {**reading, 'ids': words.ids}


def fitted(data: BoxData | LabelMapData, words: Vocabulary | None) -> tuple[Vocabulary, tuple[str, ...]]:
    """Words of the classes of data in their order, checked against it, and what was decided, a line each.

    Args:
        data: As it was recognised.
        words: Words of the classes; None: the names that a file beside the data says.

    Raises:
        UserError: If they do not fit.
    """
    names = data.names if isinstance(data, LabelMapData) else data.classes
    told: tuple[str, ...] = ()
    given = words
    if words is None:
        if not names:
            assert isinstance(data, LabelMapData)
            white = ' (and 255, which is ignored; name it with --ids if it is a class)' if data.with_255 else ''
            raise UserError(
                f'the label maps hold the ids {_ids(data.ids)}{white}; say what they mean with --classes '
                '"name of 0; name of 1; ...", and which are no class with --ignore'
            )
        try:
            words = Vocabulary.of([name.replace('_', ' ') for name in names])
        except VocabularyError as error:
            raise UserError(f'the names of the classes: {error}; give others with --classes') from error
    if names and len(words) != len(names):
        what = 'boxes have' if isinstance(data, BoxData) else 'file of the classes has'
        raise UserError(f'--classes names {len(words)} classes, the {what} {len(names)}: {"; ".join(names)}')
    if given is not None and names:
        words, told = in_order_of(names, words)
    if isinstance(data, LabelMapData):
        _check_ids(data, len(words))
        if given is not None and given.ids and given.ids == data.class_ids:
            told = (*told, f'ids of the classes are those of their list: {_ids(given.ids)}')
    return words, told


def in_order_of(names: Sequence[str], words: Vocabulary) -> tuple[Vocabulary, tuple[str, ...]]:
    """Words in the order of the names that files have; upper and lower case, blanks and ``_`` are the same.

    Args:
        names: Of the classes, as many as words.
        words: The words, perhaps in another order.

    Returns:
        The words of the first name, the second ...; and a line for each where no word is one of the names, so that
        their order counts.

    Raises:
        UserError: Only some of the words are names, or one stands for two.
    """
    owners = {plain_name(name): place for place, entry in enumerate(words.classes) for name in reversed(entry.names)}
    owners |= {plain_name(name): place for place, name in enumerate(words.names)}
    places = [owners.get(plain_name(name)) for name in names]
    found = [place for place in places if place is not None]
    if not found:
        return words, tuple(f'{name!r} of the files -> {word}' for name, word in zip(names, words.names, strict=True))
    lacking = [name for name, place in zip(names, places, strict=True) if place is None]
    unused = [word for place, word in enumerate(words.names) if place not in found]
    if lacking or unused:
        what = f'"{lacking[0]}"' if lacking else f'a class for "{unused[0]}"'
        example = f'{unused[0]} = {lacking[0]}' if lacking else f'{words.names[found[0]]} and {unused[0]} apart'
        raise UserError(
            f'--classes has words for some of the names in the files, but not {what}, so it is not known which is '
            f'which. The files name {"; ".join(names)}: write each with its word, as in "{example}"'
        )
    ids = tuple(words.ids[place] for place in found) if words.ids else ()
    return replace(words, classes=tuple(words.classes[place] for place in found), ids=ids), ()


def _check_ids(data: LabelMapData, count: int) -> None:
    """Raise where the label maps hold ids that are neither classes nor ignored."""
    if len(data.class_ids) not in (0, count):
        raise UserError(f'--classes names {count} classes, --ids {len(data.class_ids)} of them')
    if count == 1:
        white = ', and say --ids 0 255 if they are black and white' if data.with_255 else ''
        raise UserError(f'one class leaves nothing to tell it from: name the ground, too ("ground; crack"){white}')
    strange = sorted({*data.ids} - {*data.ids_of(count)})
    if strange:
        known = {*data.ids_of(count), *data.ignored, 255}
        found = data.look(known) if data.look else ''
        raise UserError(
            f'--classes names {count} classes, but the label maps hold the ids {_ids(data.ids)} (255 is ignored); '
            f'{_cure(data, count, strange)}' + (f'. In the files: {found}' if found else '')
        )


def _cure(data: LabelMapData, count: int, strange: Sequence[int]) -> str:
    """What to do about ids without a name."""
    if len(data.ids) == count and not data.class_ids:
        return f'if the names stand for these ids: --ids {" ".join(map(str, data.ids))}'
    ignore = f'--ignore {" ".join(map(str, strange[:10]))}'
    if data.ids == tuple(range(count + 1)):
        return f'say which is no class, {ignore} or --ignore 0, or name it'
    return f'say which are no class with {ignore}, or name them'


def _notes(data: BoxData | LabelMapData, vocabulary: Vocabulary) -> tuple[str, ...]:
    """Those of the data, and words that seem to be no class."""
    if isinstance(data, BoxData):
        return data.notes
    ids = data.ids_of(len(vocabulary))
    found = [(name, i) for name, i in zip(vocabulary.names, ids, strict=True) if name.casefold() in _NO_CLASS]
    hints = (f'{name!r} is read as a class; if it means none: --ignore {i}, without a word' for name, i in found)
    return (*data.notes, *hints)


def _ids(ids: Sequence[int]) -> str:
    return ', '.join(map(str, ids[:30])) + (' ...' if len(ids) > 30 else '')


def _changes(base: Config, data: BoxData | LabelMapData, vocabulary: Vocabulary, *, own_base: bool) -> dict[str, Any]:
    """Entries of the new config."""
    boxes = (base.get('default_scope') or 'mmseg') == 'mmdet'
    if boxes != isinstance(data, BoxData):
        raise UserError(
            f"the base '{base.filename}' trains on {'boxes' if boxes else 'label maps'}, the data has "
            f'{"label maps" if boxes else "boxes"}; choose another --base'
        )
    loads = _loader_of_labels(base)
    if isinstance(data, BoxData) and loads.get('with_mask') and data.maskless:
        raise UserError(f"the base '{base.filename}' needs masks, but {data.maskless} has none")
    changes: dict[str, Any] = {
        f'{split}_pipeline': _pipeline(base, split, data, vocabulary, own_base) for split in ('train', 'test')
    }
    for split in _SPLITS:
        pipeline = 'train_pipeline' if split == 'train' else 'test_pipeline'
        changes[f'{split}_dataloader'] = {'dataset': _dataset(data, split, pipeline, vocabulary)}
    if isinstance(data, BoxData):
        for split in ('val', 'test'):
            changes[f'{split}_evaluator'] = {'type': 'NamedCocoMetric', 'ann_file': str(_split(data, split).ann_file)}
    changes['model'] = _model_changes(base.model, vocabulary)
    return changes


def _loader_of_labels(base: Config) -> Mapping[str, Any]:
    """The step of the base that loads boxes or label maps."""
    for name in ('train_pipeline', 'test_pipeline'):
        if not base.get(name):
            raise UserError(f"the base '{base.filename}' has no {name}, so it cannot be trained; choose another --base")
    for step in base.train_pipeline:
        if str(step['type']).rpartition('.')[2] == 'LoadAnnotations':
            return step
    raise UserError(
        f"the base '{base.filename}' trains on neither boxes nor label maps (no LoadAnnotations in its "
        'train_pipeline); choose another --base'
    )


def _split(data: Any, split: str) -> Any:
    """A split; where there are no test pictures, those to validate on."""
    return data.splits.get(split) or data.splits['val']


def _pipeline(base: Config, split: str, data: Any, vocabulary: Vocabulary, own_base: bool) -> list[dict[str, Any]]:
    """Steps of the base with the new number of classes; for the default detector also with the new size."""
    steps = []
    for step in base[f'{split}_pipeline']:
        step = dict(step)
        if step['type'] == 'CheckLabelRange':
            step['num_classes'] = len(vocabulary)
        if isinstance(data, LabelMapData):  # how ids are written is a matter of the base's files, not of these
            step = {'type': 'LoadAnnotations'} if step['type'] == 'LoadWideAnnotations' else step
            for key in ('reduce_zero_label', 'ignore_index'):
                step.pop(key, None)
        if isinstance(data, BoxData) and not own_base and step['type'] == 'Resize':
            scale = min(1.0, _LONG_SIDE / max(data.size))
            step['scale'] = tuple(round(side * scale) for side in data.size)
        if isinstance(data, BoxData) and not own_base and step['type'] == 'RandomFlip':
            step = {'type': 'RandomFlip', 'prob': 0.5}  # blood has no up and down, most pictures have
        steps.append(step)
    return steps


def _dataset(data: BoxData | LabelMapData, split: str, pipeline: str, vocabulary: Vocabulary) -> dict[str, Any]:
    part = _split(data, split)
    metainfo: dict[str, Any]
    if isinstance(data, BoxData):
        metainfo = {'classes': data.classes}
        entry = {'type': 'NamedCocoDataset', 'ann_file': part.ann_file, 'data_prefix': {'img': part.pictures}}
    else:
        metainfo = {'classes': vocabulary.names, 'palette': _palette(vocabulary.names)}
        entry = {'_delete_': True, **data.entry(part, len(vocabulary))}
    return {**entry, 'data_root': '', 'metainfo': metainfo, 'pipeline': Name(pipeline)}


def _palette(names: Sequence[str]) -> list[list[int]]:
    return [[int(v) for v in colour] for colour in palette_for(names)]


def _model_changes(model: Mapping[str, Any], vocabulary: Vocabulary) -> dict[str, Any]:
    """What has the number of classes in it, and class weights of the base's data."""
    changes: dict[str, Any] = {}
    old = len(Vocabulary.of(model['vocabulary'])) if 'vocabulary' in model else None
    if old is not None:
        changes['vocabulary'] = _words(vocabulary)
    for key, part in model.items():
        found = _part_changes(part, len(vocabulary)) if isinstance(part, Mapping) else {}
        if found:
            changes[key] = found
    joined = 'in_channels' in model.get('neck', {}) and model.get('score_fusion', 'concat') == 'concat'
    if old is not None and joined:  # score maps are further channels of a stage
        channels = list(model['neck']['in_channels'])
        channels[model.get('score_concat_index', len(channels) - 1)] += len(vocabulary) - old
        changes['neck'] = {**changes.get('neck', {}), 'in_channels': channels}
    return changes


def _words(vocabulary: Vocabulary) -> list[str | tuple[str, tuple[str, ...]]]:
    """The classes as a list of names, with their synonyms where they have any.

    Never as text, which could be the name of a list of the suite, the path of a file, or several classes.
    """
    return [(c.name, c.synonyms) if c.synonyms else c.name for c in vocabulary.classes]


def _part_changes(part: Mapping[str, Any], count: int) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for key, value in part.items():
        if key == 'num_classes':
            changes[key] = count
        elif isinstance(value, Mapping) and value.get('class_weight') and key.startswith('loss'):
            weight = value.get('loss_weight', 1.0)
            changes[key] = {'type': 'CrossEntropyLoss', 'use_sigmoid': False, 'loss_weight': weight, '_delete_': True}
        elif isinstance(value, Mapping):
            found = _part_changes(value, count)
            changes.update({key: found} if found else {})
    return changes


def _relative_base(base: Path, out: Path) -> str:
    """The path that ``out`` names its base by."""
    relative = Path(os.path.relpath(base.resolve(), out.resolve().parent)).as_posix()
    if '::' in relative:
        raise UserError(f"MMEngine takes '::' for the end of a package's name; copy the base '{base}' to another path")
    return relative
