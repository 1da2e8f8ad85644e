"""A head from a few labelled pictures: seconds on a CPU."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from denseclip.apis.errors import UserError
from denseclip.apis.images import Picture
from denseclip.apis.inferencer import Inferencer
from denseclip.apis.loading import load_model
from denseclip.apis.new_dataset import fitted, given_words, with_ids
from denseclip.clip.vocabulary import Vocabulary
from denseclip.datasets.own_data import LabelMapData, recognise
from denseclip.files.progress import Progress
from denseclip.files.scratch import ScratchFolder
from denseclip.models.pixel_fit import Choice, Gathering
from denseclip.models.pixel_head import feature_space
from denseclip.models.pixel_head_file import AnyPixelHead, write_head
from denseclip.models.pixel_samples import labelled_picture
from denseclip.models.retrieval_fit import RegionGathering
from denseclip.weights.writing import usable_target

if TYPE_CHECKING:
    from denseclip.datasets.own_data import Reading

METHODS = {'gda': Gathering, 'rns': RegionGathering}
"""What gathers the labelled pictures of each method."""


@dataclass(frozen=True)
class Adapted:
    """What :func:`adapt` made.

    Attributes:
        head: The head; :meth:`Inferencer.use_head` takes it.
        path: Its file; None: it was not written.
        choice: What such heads score on cells held out, and what was chosen there.
        cells: Labelled cells of each class; classes without any keep their text score.
        pictures: How many pictures were looked at.
        seconds: How long it took, without loading the model.
        notes: What was decided about the data on the way, a line each.
    """

    head: AnyPixelHead
    path: Path | None
    choice: Choice
    cells: dict[str, int]
    pictures: int
    seconds: float
    notes: tuple[str, ...] = ()


def adapt(
    folder: str | Path,
    out: str | Path | None = None,
    *,
    model: Inferencer | str | None = None,
    classes: Any = None,
    count: int | None = None,
    seed: int = 0,
    method: str = 'gda',
    force: bool = False,
    progress: Progress | None = None,
    reading: Reading | None = None,
    **options: Any,
) -> Adapted:
    """Make a head of a few labelled pictures.

    ``'gda'``: class means and one shared covariance of the model's pixel embeddings, in closed form, whose scores are
    added to those of the words. How much is chosen on labelled pictures held out (:mod:`denseclip.models.pixel_fit`).
    ``'rns'``: the mean embedding of each class in each picture; every picture that is labelled later retrieves those
    that are like its pixels, and gets a classifier of its own of them and of the words.

    Args:
        folder: Pictures and label maps in any layout that ``denseclip new-dataset`` reads; where it is divided, those
            to train on are taken.
        out: File to write, ``.safetensors``; None writes none.
        model: The model, loaded or by name; None: the bundled one. Presets, CLIP-DINOiser and DenseCLIP with open
            words have pixel embeddings.
        classes: Words of the classes in the order of their ids, in any form that ``Vocabulary.of`` knows; None where a
            file beside the label maps says them (then words that are its names may stand in any order).
        count: Take so many of the pictures only, drawn by ``seed``; None: all.
        seed: See ``count``; also of the cells that are kept to choose on, and of the classifiers of ``'rns'``.
        method: ``'gda'`` or ``'rns'``.
        force: Overwrite ``out``.
        progress: Called with the number of pictures looked at, and of all.
        reading: How the folder is read (``ids``, ``ignore``, ``colors``), see
            :class:`~denseclip.datasets.own_data.data.Reading`.
        **options: Further arguments of :func:`load_model`.

    Returns:
        What was made.

    Raises:
        UserError: If the classes do not fit the data, the model has no pixel embeddings, or ``out`` exists.
        ConversionError: If the folder is not understood.

    Example:
        >>> made = denseclip.adapt('data/mine', 'head.safetensors', classes='road; crack')  # doctest: +SKIP
        >>> denseclip.segment('road.jpg', head='head.safetensors')  # doctest: +SKIP
    """
    if method not in METHODS:
        raise UserError(f"there is no method '{method}' (--method): take {' or '.join(METHODS)}.")
    path = None if out is None else _target(out, force)
    words = given_words(classes)
    with labelled_maps(folder, words, reading or {}) as (data, vocabulary):
        pictures = len(_chosen(data, count, seed))  # before the model is loaded
        inferencer = _loaded(model, vocabulary, options)
        start = time.perf_counter()
        gathering, cells = gather(inferencer, vocabulary, data, count, seed, progress, method)
    try:
        head, choice = gathering.head(feature_space(inferencer.model), {'pictures': pictures, 'cells': cells})
    except ValueError as error:
        raise UserError(f'{folder}: {error}: label more of them.') from error
    if path is not None:
        write_head(head, path)
    return Adapted(head, path, choice, cells, pictures, time.perf_counter() - start, data.notes)


def _target(out: str | Path, force: bool) -> Path:
    path = Path(out)
    if path.suffix != '.safetensors':
        raise UserError(f"'{out}' must end in .safetensors.")
    if path.exists() and not force:
        raise UserError(f"'{out}' exists; choose another name, or overwrite it with --force (force=True).")
    return usable_target(path)


@contextmanager
def labelled_maps(
    folder: str | Path, words: Vocabulary | None, reading: Reading
) -> Iterator[tuple[LabelMapData, Vocabulary]]:
    """Label maps of a folder, and the words of their classes; what has to be made of them lasts as long as this.

    Raises:
        UserError: If the words do not fit.
        ConversionError: If the folder is not understood.
    """
    with ScratchFolder(Path(tempfile.gettempdir()), 'denseclip-maps-') as made:
        options: Reading = {
            **with_ids(reading, words),
            'kind': 'label maps',
            'converted': made.path / 'maps',
            'val_share': None,
        }
        data = recognise(folder, check=partial(fitted, words=words), **options)
        assert isinstance(data, LabelMapData)
        vocabulary, told = fitted(data, words)
        yield replace(data, notes=(*data.notes, *told)), vocabulary


def _chosen(data: LabelMapData, count: int | None, seed: int) -> list[Path]:
    pictures = [pair.picture for pair in data.splits['train'].pairs]
    if count is None:
        return pictures
    if not 1 <= count <= len(pictures):
        raise UserError(f'--count is {count}, but there are {len(pictures)} labelled pictures: take 1 to that many.')
    return random.Random(seed).sample(pictures, count)


def _loaded(model: Inferencer | str | None, vocabulary: Vocabulary, options: dict[str, Any]) -> Inferencer:
    """The model, telling apart the classes of the data."""
    if isinstance(model, Inferencer):
        if options:
            raise UserError(f'a loaded model takes no {", ".join(options)}: leave them out.')
        model.require_pixel_features()
        model.set_vocabulary(vocabulary)
        return model
    inferencer = load_model(model, words=vocabulary, **options)
    if not isinstance(inferencer, Inferencer):
        raise UserError(f'{type(inferencer.model).__name__} labels no pixels by words, so there is nothing to adapt.')
    inferencer.require_pixel_features()
    return inferencer


def gather(
    inferencer: Inferencer,
    vocabulary: Vocabulary,
    data: LabelMapData,
    count: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    method: str = 'gda',
) -> tuple[Any, dict[str, int]]:
    """Labelled cells of the pictures to train on, and how many each class has; arguments as for :func:`adapt`.

    Raises:
        UserError: If there are fewer pictures, or a label map has another size than its picture.
    """
    pictures = _chosen(data, count, seed)
    truth = data.truth(len(vocabulary))
    gathering: Any = METHODS[method](vocabulary, len(pictures), seed)
    counts = torch.zeros(len(vocabulary), dtype=torch.long, device='cpu')
    for number, path in enumerate(pictures):
        labels = torch.from_numpy(truth(str(path)))
        picture = Picture.of(path)
        if picture.rgb.shape[:2] != tuple(labels.shape):
            raise UserError(
                f'{path} is {picture.rgb.shape[1]}x{picture.rgb.shape[0]} pixels, its label map '
                f'{labels.shape[1]}x{labels.shape[0]}: they must have one size.'
            )
        with inferencer.prepared(picture) as (inputs, sample):
            classes = len(vocabulary) if gathering.wants_regions else None
            seen = labelled_picture(inferencer.model, inputs, sample, labels, classes)
        gathering.add(seen)
        counts += torch.bincount(seen.cells.labels, minlength=len(vocabulary))
        if progress is not None:
            progress(number + 1, len(pictures))
    return gathering, dict(zip(vocabulary.names, counts.tolist(), strict=True))
