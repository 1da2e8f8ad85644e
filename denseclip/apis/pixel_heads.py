"""Heads of ``denseclip adapt`` on loaded models: whether they belong together, and what they say beside labels."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from mmengine.dataset import pseudo_collate

from denseclip.apis.batches import described
from denseclip.apis.errors import UserError, check_share
from denseclip.files.names import shown
from denseclip.models.pixel_head import PixelGDAHead, takes_pixel_head
from denseclip.models.pixel_head_file import AnyPixelHead, read_head, why_unfit
from denseclip.models.pixel_samples import description_rows, fired_descriptions
from denseclip.models.pixel_trail import NEEDS_HEAD, PixelRequest

if TYPE_CHECKING:
    from denseclip.apis.images import Picture
    from denseclip.apis.turns import Turn
    from denseclip.clip.vocabulary import Vocabulary


def require_pixel_features(model: Any) -> None:
    """Refuse models whose pixels have no embeddings.

    Raises:
        UserError: Then.
    """
    if not takes_pixel_head(model):
        raise UserError(
            f'{type(model).__name__} has no embeddings of pixels in the space of its words, which a head of '
            "'denseclip adapt' needs: take a preset (--preset), CLIP-DINOiser, or a DenseCLIP with open words such as "
            'the bundled model.'
        )


def given_head(head: AnyPixelHead | str | Path) -> tuple[AnyPixelHead, str]:
    """A head, read where it is a file, and what to call it.

    Raises:
        UserError: If there is no such file.
    """
    if isinstance(head, AnyPixelHead):
        return head, 'the head'
    if not Path(head).is_file():
        raise UserError(f"the head '{head}' does not exist; make it with 'denseclip adapt'.")
    return read_head(head), f"the head '{shown(head)}'"


def check_head(model: Any, head: AnyPixelHead, name: str, vocabulary: Vocabulary) -> None:
    """Refuse a head of another model, or of other classes.

    Raises:
        UserError: Then; one sentence.
    """
    require_pixel_features(model)
    unfit = why_unfit(model, head, name, vocabulary)
    if unfit is not None:
        raise UserError(unfit)
    if getattr(model, 'score_fusion', 'none') != 'none' and vocabulary.groups != head.vocabulary.groups:
        warnings.warn(
            f'{name} was made with other words, on which the pixel embeddings of {type(model).__name__} depend a '
            'little: make it anew with these classes if results are poor.',
            stacklevel=4,
        )


def strangeness_of(sample: Any, height: int, width: int) -> np.ndarray | None:
    """What a data sample says of strangeness, ``H x W``; None: nothing."""
    found = getattr(sample, 'strangeness', None)
    return None if found is None else found.data[0, :height, :width].float().cpu().numpy()


def without_unknown(labels: np.ndarray, strangeness: np.ndarray, most: float, label: int) -> np.ndarray:
    """Labels in which pixels that are stranger than allowed have a label of their own.

    Shape:
        - labels, strangeness and result: ``H x W``
    """
    return np.where(strangeness > most, np.asarray(label, dtype=labels.dtype), labels)


def check_unknown(unknown: float | None, head: AnyPixelHead | None) -> None:
    """Refuse a share that is none, or one without a head.

    Raises:
        UserError: Then.
    """
    check_share('unknown (--unknown)', unknown)
    if unknown is not None and not isinstance(head, PixelGDAHead):
        raise UserError(NEEDS_HEAD)


class TakesPixelHead:
    """Mix-in for inferencers whose model's scores of words a head can correct."""

    model: Any
    unknown: float | None = None
    """Pixels stranger than this part of labelled ones get no class, see :meth:`use_head`; None: all get one."""
    explain: bool = False
    """Whether results say which descriptions fired, see :attr:`Segmentation.descriptions`."""
    _described: tuple[Vocabulary, dict[str, torch.Tensor]] | None = None
    _turn: Turn
    _limit: int | None
    _transforms: Callable[[dict[str, Any]], Any]
    _words_of_call: Callable[..., Any]
    vocabulary: Any

    def require_pixel_features(self) -> None:
        """Refuse to be given a head.

        Raises:
            UserError: If the model's pixels have no embeddings.
        """
        require_pixel_features(self.model)

    def use_head(self, head: AnyPixelHead | str | Path | None, unknown: float | None = None) -> None:
        """Correct the scores of words by a head of ``denseclip adapt`` from now on.

        Args:
            head: The head or its file; None takes the present one off.
            unknown: Pixels that are stranger to the head than this part of the labelled pixels that it was not made
                of, 0..1, get the label ``background`` where the words have one, else ``nothing``;
                :attr:`Segmentation.strangeness` says how strange each is. None: all pixels get a class.

        Raises:
            UserError: If the head belongs to another model, or knows none of the classes.
            WeightFileError: If the file is no head.
        """
        found, name = (None, '') if head is None else given_head(head)
        self.take_head(found, name, unknown)

    def take_head(self, head: AnyPixelHead | None, name: str, unknown: float | None) -> None:
        """See :meth:`use_head`; the head is read, and ``name`` is what to call it."""
        check_unknown(unknown, head)
        with self._turn:
            if head is not None:
                check_head(self.model, head, name, self.vocabulary)
            self.model.pixel_head, self.unknown = head, unknown

    @contextmanager
    def prepared(self, picture: Picture) -> Iterator[tuple[torch.Tensor, Any]]:
        """A picture as the model takes it (1, 3, H, W), and its data sample; in the model's turn, without gradient."""
        with self._turn, torch.inference_mode():
            self._words_of_call(None)
            packed = self._transforms(described(picture, self._limit))
            data = self.model.data_preprocessor(pseudo_collate([packed]), False)
            yield data['inputs'], data['data_samples'][0]

    def _pixel_request(self, vocabulary: Vocabulary) -> PixelRequest:
        """What the model is to keep of its pixels while it labels them; in its turn.

        Raises:
            UserError: If the background of the words needs a head and there is none, or pixels have no embeddings.
        """
        if vocabulary.most_strange is not None and not isinstance(self.model.pixel_head, PixelGDAHead):
            raise UserError(NEEDS_HEAD)
        explains = self.explain and bool(vocabulary.sentences)
        if explains:
            require_pixel_features(self.model)
        return PixelRequest(strangeness=self.unknown is not None, features=explains)

    def _add_descriptions(self, samples: Sequence[Any], vocabulary: Vocabulary) -> None:
        """Give data samples ``descriptions``, if their pixels were kept for that; in the model's turn."""
        for sample in samples:
            windows = sample.metainfo.get('pixel_windows')
            if windows is None:
                continue
            if self._described is None or self._described[0] != vocabulary:
                self._described = vocabulary, description_rows(self.model, vocabulary)
            labels = sample.pred_sem_seg.data[0].cpu().long()
            found = fired_descriptions(windows, labels, vocabulary, self._described[1])
            sample.set_metainfo({'descriptions': found})
