"""Which words take part in the labels of a picture, in the product's terms."""

from __future__ import annotations

from typing import Any

from denseclip.apis.errors import UserError
from denseclip.structures.active_vocabulary import ActiveVocabulary, ClassChoice


class ChoosesWords:
    """Mix-in of predictors whose model may choose the classes of a picture before it labels the pixels."""

    model: Any
    _turn: Any

    @property
    def active_vocabulary(self) -> ActiveVocabulary | None:
        """How the classes of each picture are chosen before its pixels are labelled; None: all take part.

        Set a scorer's name (``'mixed'``), or settings of :class:`ActiveVocabulary` as a mapping. Results then tell in
        ``active`` which classes took part.

        Raises:
            UserError: When set to what is unknown, or if the model cannot choose.
        """
        return getattr(self.model, 'active_vocabulary', None)

    @active_vocabulary.setter
    def active_vocabulary(self, wanted: Any) -> None:
        if wanted is not None and not hasattr(self.model, 'active_vocabulary'):
            raise UserError(
                f'{type(self.model).__name__} cannot choose the classes of a picture (active_vocabulary, '
                '--active-vocabulary): take a training-free preset, CLIP-DINOiser, ovseg, fcclip or maft.'
            )
        with self._turn:
            try:
                if wanted is not None or self.active_vocabulary is not None:
                    self.model.active_vocabulary = wanted
            except ValueError as error:
                raise UserError(str(error)) from error


def choice_of(sample: Any, names: tuple[str, ...]) -> dict[str, Any]:
    """What a result says of the choice that a data sample holds: arguments of a :class:`Result`."""
    found: ClassChoice | None = getattr(sample, 'class_choice', None)
    if found is None:
        return {}
    kept = [k for k in found.kept.nonzero()[:, 0].tolist() if k < len(names)]
    scores = None if found.scores is None else found.scores.float().cpu().tolist()
    return {
        'active': {names[k]: None if scores is None else scores[k] for k in kept},
        'active_by': found.scorer,
    }
