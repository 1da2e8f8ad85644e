"""What every loaded anomaly model answers, whatever runs it: a map and a score for pictures of a named object."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, overload

import numpy as np

from denseclip.apis.anomaly_result import AnomalyResult, result_of
from denseclip.apis.errors import UserError
from denseclip.apis.images import ChannelOrder, ImageLike, Images, Picture, pictures_of
from denseclip.apis.predictor import Predictor

Subject = tuple[str | None, str | None, str | Sequence[str] | None]
"""Object, domain and defects of pictures."""


class AnomalyPredictor(Predictor):
    """An anomaly model, ready for pictures.

    An object given with a call belongs to that call; :meth:`set_object` says what calls without one show.
    """

    task = 'anomaly'
    _subject: Subject = (None, None, None)

    def _find(self, image: Any, *args: Any, **options: Any) -> Any:
        return self.localize(image, *args, **options)

    @property
    def subject(self) -> Subject:
        """Object, domain and defects of calls without an object."""
        return self._subject

    @property
    def object_name(self) -> str | None:
        """What pictures of calls without an object show."""
        return self._subject[0]

    @abstractmethod
    def set_object(self, name: str, domain: str | None = None, defects: str | Sequence[str] | None = None) -> Any:
        """Say what the pictures show from now on; text is encoded once, at the next picture.

        Args:
            name: The product in words, such as ``'metal nut'``.
            domain: Kind of pictures: one of the prompt set's, or a phrase with its article
                (``'a satellite image'``); None: by the name.
            defects: Own defect words besides the general ones, ``'scratch; dent'`` or a list.

        Returns:
            The prompts that follow.

        Raises:
            ValueError: If the domain is unknown or a word is empty.
        """

    @abstractmethod
    def _score(self, pictures: Sequence[Picture], subject: Subject) -> list[tuple[np.ndarray, float]]:
        """Raw maps, float32, in the pictures' sizes, and raw scores of pictures of a subject."""

    def predict(
        self,
        image: ImageLike,
        object: str | None = None,
        domain: str | None = None,
        defects: str | Sequence[str] | None = None,
        *,
        channel_order: ChannelOrder | None = None,
    ) -> tuple[np.ndarray, float, np.ndarray]:
        """Raw answer for a picture: map (H, W) float32 in its own size, score, and the picture, RGB.

        Args:
            image: A file, bytes, a Pillow image, an array or a tensor; see :meth:`Inferencer.segment`.
            object: What this picture shows; None: see :meth:`set_object`.
            domain: See :meth:`set_object`; goes with ``object``.
            defects: See there.
            channel_order: ``'bgr'`` for arrays of OpenCV and mmcv; arrays and tensors are RGB otherwise.

        Raises:
            UnreadableImageError: If the file cannot be read.
            UserError: If it is no picture, or nothing says what the picture shows.
            ValueError: See :meth:`set_object`.
        """
        [(scores, score)] = self._predict([picture := Picture.of(image, channel_order)], (object, domain, defects))
        return scores, score, picture.rgb

    def _predict(self, pictures: Sequence[Picture], said: Subject) -> list[tuple[np.ndarray, float]]:
        """Raw maps and scores; ``said`` is what the call says that the pictures show."""
        name, domain, defects = said
        if name is None and (domain is not None or defects is not None):
            raise UserError('domain and defects go with object: give it as well, or use set_object().')
        subject = self._subject if name is None else said
        if subject[0] is None:
            raise UserError("say what the pictures show: object='metal nut' (--object on the command line).")
        return self._score(pictures, subject)

    def vouches(self, picture: ImageLike) -> bool:
        """Whether a good picture can tell what is usual.

        One that the model compares with can if it is scored without itself: not the only one, and none where the model
        keeps an extract of all of them.
        """
        return True

    @overload
    def localize(
        self,
        image: ImageLike,
        object: str | None = None,
        domain: str | None = None,
        defects: str | Sequence[str] | None = None,
        *,
        channel_order: ChannelOrder | None = None,
    ) -> AnomalyResult: ...

    @overload
    def localize(
        self,
        image: Images,
        object: str | None = None,
        domain: str | None = None,
        defects: str | Sequence[str] | None = None,
        *,
        channel_order: ChannelOrder | None = None,
    ) -> list[AnomalyResult]: ...

    def localize(
        self,
        image: Any,
        object: str | None = None,
        domain: str | None = None,
        defects: str | Sequence[str] | None = None,
        *,
        channel_order: ChannelOrder | None = None,
    ) -> Any:
        """Find defects in a picture, or in each of several; arguments and errors as in :meth:`predict`.

        Pixel scores are calibrated by the picture's own map, its score around the even one; to compare pictures, use
        :func:`denseclip.apis.anomaly_folder.inspect_pictures`, which calibrates all of them together.

        Returns:
            The result; a list of results for a list of pictures.
        """
        pictures, several = pictures_of(image, channel_order)
        answers = self._predict(pictures, (object, domain, defects))
        found = [result_of(picture, *answer) for picture, answer in zip(pictures, answers, strict=True)]
        return found if several else found[0]


def check_name(subject: Subject) -> str:
    """The object of a subject.

    Raises:
        UserError: If it is not named by words.
    """
    if not isinstance(subject[0], str):
        raise UserError(f'an object is named by words, such as "metal nut", not by {subject[0]!r:.60}.')
    return subject[0]
