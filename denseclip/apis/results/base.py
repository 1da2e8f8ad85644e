"""The parent of all results: what was found where, in one form for every reader."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
from PIL import Image

from denseclip.apis.results.formats import chosen_formats
from denseclip.apis.results.sheets import Place, sheet_of


@dataclass(frozen=True, eq=False)
class Region:
    """One thing in a picture: all of a class, a segment, an object, or a defect.

    Attributes:
        label: Number of its class in ``names``.
        title: Its name; a number tells several of a class apart where the result has such numbers.
        box: Corners ``x1, y1, x2, y2`` in pixels; pixel ``i`` reaches from ``i`` to ``i + 1``.
        mask: Bool, shape (H, W); None for boxes alone.
        score: How sure the model is, 0..1; None: not known.
        is_thing: Whether its class is countable; None: nobody asked.
    """

    label: int
    title: str
    box: tuple[float, float, float, float]
    mask: np.ndarray | None
    score: float | None = None
    is_thing: bool | None = None

    @classmethod
    def of_mask(
        cls, label: int, title: str, mask: np.ndarray, score: float | None = None, is_thing: bool | None = None
    ) -> Region:
        """A region with the box of its mask, which has pixels."""
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        box = (float(columns[0]), float(rows[0]), float(columns[-1]) + 1, float(rows[-1]) + 1)
        return cls(label, title, box, mask, score, is_thing)

    @property
    def area(self) -> float:
        """Pixels of the mask, or of the box if there is none."""
        if self.mask is not None:
            return int(self.mask.sum())
        x1, y1, x2, y2 = self.box
        return max(0.0, x2 - x1) * max(0.0, y2 - y1)


class Result(ABC):
    """What a model found in one picture.

    Attributes:
        kind: ``'semantic'``, ``'panoptic'``, ``'instance'`` or ``'anomaly'``.
        names: Class names in label order.
        image: The picture, ``H x W x 3`` RGB, ``uint8``.
        source: The picture's file, if it came from one.
        scores: How sure the model is: a number for each class, segment or object, or of the picture, 0..1; None for
            models that give none.
        active: The classes that took part, with the scores that they were chosen by (None: not known), where the model
            chose them first (``active_vocabulary``); None: all took part.
        active_by: What they were chosen by, such as ``'mixed'``.
    """

    kind: ClassVar[str]
    names: tuple[str, ...]
    image: np.ndarray
    source: Path | None
    scores: np.ndarray | None
    active: Mapping[str, float | None] | None = None
    active_by: str | None = None

    @abstractmethod
    def regions(self) -> Iterator[Region]:
        """What was found, one by one; areas of no class are left out."""

    @abstractmethod
    def overlay(self) -> Image.Image:
        """The picture with what was found drawn into it."""

    @abstractmethod
    def summary(self) -> str:
        """What was found, for the terminal."""

    @property
    def stem(self) -> str:
        """Name of files that are written without one: that of the picture's file, or ``picture``."""
        return self.source.stem if self.source else 'picture'

    @property
    def considered(self) -> int:
        """How many classes could take part."""
        return len(self.names)

    def chosen_lines(self) -> list[str]:
        """How many classes took part, a line for the terminal; none where nobody chose."""
        if self.active is None:
            return []
        return [f'  classes chosen by {self.active_by}: {len(self.active)} of {self.considered} took part']

    def to_dict(self) -> dict[str, Any]:
        """All that was found as numbers and text, fit for JSON.

        Returns:
            ``kind``, ``source``, ``width``, ``height``, ``classes``, and ``objects``: for each ``class``, ``label``,
            ``box`` (``x1, y1, x2, y2``), ``area`` (pixels), ``score`` where there is one, and ``mask`` in COCO's
            compressed run lengths where there is one. Where classes were chosen, ``active_vocabulary``: the
            ``scorer``, how many were ``considered``, and those ``kept``.
        """
        from denseclip.apis.results.exchange import dictionary

        found = dictionary(self)
        if self.active is not None:
            found['active_vocabulary'] = {
                'scorer': self.active_by,
                'considered': self.considered,
                'kept': [{'class': name, 'score': score} for name, score in self.active.items()],
            }
        return found

    def to_coco(self, polygons: bool = False) -> dict[str, Any]:
        """A data set of this one picture in COCO's format, which pycocotools and annotation tools read.

        Args:
            polygons: Write masks without holes as polygons instead of run lengths; both are exact.

        Returns:
            ``images``, ``annotations`` (with ``score`` where there is one) and ``categories``; the id of a category is
            its label + 1.
        """
        from denseclip.apis.results.exchange import coco_data

        return coco_data(self, polygons)

    def to_labelme(self, beside: str | Path | None = None, tolerance: float = 1.0) -> dict[str, Any]:
        """A file of labelme, to correct by hand what the model found.

        Areas with holes become masks and others polygons, so that nothing is lost; boxes become rectangles. Parts of
        one object share a ``group_id``.

        Args:
            beside: Folder that the file is going to lie in: the picture's path is said from there. A result without a
                file has the picture inside.
            tolerance: How far polygons may run from the edges of pixels; 0 follows every step.
        """
        from denseclip.apis.results.exchange import labelme_data

        return labelme_data(self, None if beside is None else Place(Path(beside)), tolerance)

    def to_cvat(self, beside: str | Path | None = None, tolerance: float = 0.0) -> bytes:
        """A file of CVAT, "CVAT for images 1.1", to import into a task with this picture.

        Areas with holes become masks and others polygons, so that nothing is lost; boxes become boxes. Parts of one
        object share a ``group_id``.

        Args:
            beside: Folder that the picture's path is said from.
            tolerance: How far polygons may run from the edges of pixels; 0 follows every step.
        """
        from denseclip.apis.results.cvat import cvat_xml

        return cvat_xml([sheet_of(self, None if beside is None else Place(Path(beside)))], self.names, tolerance)

    def to_datumaro(self, beside: str | Path | None = None) -> dict[str, Any]:
        """A subset of Datumaro's own format of this one picture; masks are run lengths.

        Args:
            beside: Folder that the picture's path is said from.
        """
        from denseclip.apis.results.datumaro import datumaro_data

        return datumaro_data([sheet_of(self, None if beside is None else Place(Path(beside)))], self.names)

    def to_label_studio(self, beside: str | Path | None = None, tolerance: float = 0.0) -> list[dict[str, Any]]:
        """A task of Label Studio with a prediction to correct.

        Boxes become rectangles, areas of one piece without holes polygons, and others brushes, so that nothing is lost.

        Args:
            beside: Folder that Label Studio serves files from: the picture's path is said from there. A result without
                a file has the picture inside.
            tolerance: How far polygons may run from the edges of pixels; 0 follows every step.
        """
        from denseclip.apis.results.label_studio import tasks

        return tasks([sheet_of(self, None if beside is None else Place(Path(beside)))], self.names, tolerance)

    def to_fiftyone(self) -> Any:
        """``fiftyone.Detections`` for a field of the picture's sample, with masks and confidences where there are any.

        Raises:
            ImportError: If fiftyone is not installed.
        """
        from denseclip.apis.results.fiftyone import fiftyone_detections

        return fiftyone_detections(self)

    def to_supervision(self) -> Any:
        """``supervision.Detections``; ``data['class_name']`` has the names, ``metadata['class_names']`` all of them.

        ``from_supervision`` of each kind of result is the way back.

        Raises:
            ImportError: If supervision is not installed (the extra ``supervision``).
        """
        from denseclip.apis.results.supervision import to_supervision

        return to_supervision(self)

    def save(
        self,
        folder: str | Path,
        stem: str | None = None,
        force: bool = False,
        formats: str | Sequence[str] | None = None,
    ) -> list[Path]:
        """Write files.

        Args:
            folder: Made when there is none.
            stem: Files are called ``<stem><ending>``; by default :attr:`stem`.
            force: Whether earlier results may be overwritten.
            formats: What to write, such as ``'overlay,coco'`` or a list; None: what is usual for this kind, see
                ``denseclip.apis.results.formats``.

        Returns:
            The files.

        Raises:
            UserError: If the folder cannot be written to, or holds such results and ``force`` is False; or there is no
                such format for this kind of result.
        """
        from denseclip.apis.files import prepare_folder, write_file

        rows = chosen_formats(self.kind, formats)
        files = [(stem or self.stem) + row.ending for row in rows]
        folder = prepare_folder(folder, files, force)
        contents = [
            row.content(self, Place(folder)) for row in rows
        ]  # all of them first: nothing is written if one fails
        return [write_file(folder / name, content) for name, content in zip(files, contents, strict=True)]


class AreaResult(Result):
    """A result in which a pixel belongs to one area at most."""

    @classmethod
    def from_supervision(
        cls: type[AreaResultT], found: Any, image: np.ndarray, words: Any = None, source: Path | None = None
    ) -> AreaResultT:
        """From ``supervision.Detections`` with masks; where they overlap, the surest stays.

        Args:
            found: ``supervision.Detections``, filtered, tracked or merged as you like.
            image: The picture, ``H x W x 3`` RGB, ``uint8``.
            words: The classes in label order, in any form that ``Vocabulary.of`` knows; by default those that came with
                the detections.
            source: The picture's file.

        Raises:
            UserError: If classes, masks or sizes do not fit.
        """
        from denseclip.apis.results.supervision import AREAS

        return AREAS[cls.kind](found, image, words, source)


AreaResultT = TypeVar('AreaResultT', bound=AreaResult)
