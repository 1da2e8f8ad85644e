"""What all layouts share: what is asked for, which pictures there are, and files that appear whole or not at all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
from PIL import Image

from denseclip.files.atomic import partial_name

from .. import world
from ..kinds import CLASSES, UNSEEN
from ..scenes import Scene, SceneSpec


class MiniworldError(ValueError):
    """A request that cannot be met, or a folder that holds something else."""


@dataclass(frozen=True)
class Request:
    """What a layout is asked to write.

    Attributes:
        root: Folder, the ``data_root`` of configs.
        count: Pictures for training (for layouts with categories: of each category).
        val_count: Pictures for validation or test.
        seed: Of the world.
        size: Height and width in pixels.
        kinds: ``'seen'`` leaves the classes of :data:`~denseclip.datasets.miniworld.kinds.UNSEEN` out of the training
            pictures; ``'all'`` draws everything.
        val_words: ``'held-out'``: things of the validation pictures wear the colours that training captions never
            name with them; ``'seen'``: the others, as in training.
    """

    root: Path
    count: int
    val_count: int
    seed: int
    size: tuple[int, int]
    kinds: str = 'all'
    val_words: str = 'held-out'

    def facts(self) -> dict[str, object]:
        """What decides the files, as plain data."""
        return {
            'world': world.VERSION,
            'count': self.count,
            'val_count': self.val_count,
            'seed': self.seed,
            'size': list(self.size),
            'kinds': self.kinds,
            'val_words': self.val_words,
        }


@dataclass(frozen=True)
class Job:
    """One picture to write.

    Attributes:
        split: ``'train'`` or ``'val'``.
        index: Within the split (and category).
        category: Index of the part, for layouts of parts.
        defect: Index of the defect, or None.
    """

    split: str
    index: int
    category: int = -1
    defect: int | None = None


class Layout(ABC):
    """Writes one on-disk layout; a subclass per real data set.

    Attributes:
        name: What it is asked for by.
        about: One line for the command's help.
        size: Height and width unless asked otherwise.
        labels: World labels that the layout has ids for; only these are drawn.
    """

    name: ClassVar[str]
    about: ClassVar[str]
    size: ClassVar[tuple[int, int]] = (128, 128)
    labels: ClassVar[tuple[int, ...]] = tuple(range(len(CLASSES)))

    def __init__(self, request: Request) -> None:
        self.request = request
        self.root = request.root

    @property
    def classes(self) -> Sequence[str]:
        """Names of the classes, in the order of the layout's training ids."""
        return [CLASSES[label] for label in self.labels]

    def jobs(self) -> list[Job]:
        """All pictures, in the order in which they are written."""
        counts = {'train': self.request.count, 'val': self.request.val_count}
        return [Job(split, index) for split, count in counts.items() for index in range(count)]

    @abstractmethod
    def write(self, job: Job) -> None:
        """Write the files of one picture, as far as they are not there yet."""

    def finish(self) -> None:  # noqa: B027  (most layouts have nothing to add)
        """Write lists and annotation files, once all pictures are there."""

    @cached_property
    def _specs(self) -> dict[str, SceneSpec]:
        seen = tuple(label for label in self.labels if CLASSES[label] not in UNSEEN)
        train = seen if self.request.kinds == 'seen' else self.labels
        size, held_out = self.request.size, self.request.val_words == 'held-out'
        return {'train': SceneSpec(size, labels=train), 'val': SceneSpec(size, labels=self.labels, held_out=held_out)}

    def scene(self, job: Job) -> tuple[Scene, np.random.Generator]:
        """The scene of a job, and its generator."""
        return world.scene(self.request.seed, job.split, job.index, self._specs[job.split])


def table(ids: dict[int, int], missing: int) -> np.ndarray:
    """Lookup table from world labels to a layout's ids.

    Args:
        ids: World label to id.
        missing: Id of all other labels.
    """
    out = np.full(256, missing, dtype=np.int64)
    out[list(ids)] = list(ids.values())
    return out


def save_image(image: np.ndarray, path: Path) -> None:
    """Write RGB or grey pixels (8 or 16 bits) in the format that the name ends in, unless the file is there."""
    if path.exists():
        return
    pixels = image[..., ::-1] if image.ndim == 3 else image
    options = [cv2.IMWRITE_JPEG_QUALITY, 95] if path.suffix.lower() == '.jpg' else [cv2.IMWRITE_PNG_COMPRESSION, 3]
    done, data = cv2.imencode(path.suffix.lower(), np.ascontiguousarray(pixels), options)
    if not done:
        raise MiniworldError(f"cannot encode '{path}'")
    _write(path, data.tobytes())


def save_palette(labels: np.ndarray, path: Path, palette: np.ndarray) -> None:
    """Write a label map as an indexed PNG with these colours (256, 3), as VOC's are, unless the file is there."""
    if path.exists():
        return
    image = Image.fromarray(labels.astype(np.uint8), mode='P')
    image.putpalette(palette.astype(np.uint8).tobytes())
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(partial_name(path.name))
    image.save(partial, format='PNG')
    partial.replace(path)


def save_text(text: str, path: Path) -> None:
    """Write a text file; an older one is replaced."""
    _write(path, text.encode())


def _write(path: Path, data: bytes) -> None:
    partial = path.with_name(partial_name(path.name))
    try:
        partial.write_bytes(data)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(data)
    partial.replace(path)
