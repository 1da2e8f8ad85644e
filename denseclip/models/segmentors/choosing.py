"""Which classes take part in the labels of a picture: what all models that choose them share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from denseclip.structures.active_vocabulary import GIVEN, SCORERS, ActiveVocabulary, ClassChoice


class ChoosesClasses:
    """Mix-in of models that choose classes before they label pixels; pixels then get one of those.

    ``test_cfg.active_vocabulary`` is a scorer's name or settings of :class:`ActiveVocabulary`; by default nothing is
    chosen. Data samples get ``class_choice``, a :class:`ClassChoice`.

    Attributes:
        active_scorers: What this model can choose by.
        offered: Classes that may be answered, (K,) bool: a choice that the caller has made; None: there is none.
    """

    active_scorers: tuple[str, ...] = ()
    offered: Tensor | None = None
    _active: ActiveVocabulary | None = None

    @property
    def active_vocabulary(self) -> ActiveVocabulary | None:
        """How classes are chosen; set a scorer's name, settings, or None for not at all.

        Raises:
            ValueError: When set to what is unknown, or to what this model cannot choose by.
        """
        return self._active

    @active_vocabulary.setter
    def active_vocabulary(self, wanted: Any) -> None:
        found = ActiveVocabulary.of(wanted)
        if found is not None:
            self.check_active(found)
        self._active = found
        self.active_changed()

    def check_active(self, active: ActiveVocabulary) -> None:
        """Refuse what the model cannot choose by.

        Raises:
            ValueError: Then.
        """
        if active.scorer not in self.active_scorers:
            raise ValueError(
                f"active_vocabulary: {type(self).__name__} has no '{active.scorer}' ({SCORERS[active.scorer]}); choose "
                f'from {", ".join(self.active_scorers)}.'
            )

    def active_changed(self) -> None:
        """Follow another :attr:`active_vocabulary`."""

    def given_choice(self, device: torch.device) -> ClassChoice | None:
        """What the caller has chosen, on the device of the scores."""
        return None if self.offered is None else ClassChoice(GIVEN, self.offered.to(device))


def mask_scores(scorer: str, picture: Tensor | None, dense: Tensor) -> Tensor:
    """Scores (K,) of the classes of a model that classifies masks.

    Args:
        scorer: ``'picture'``, ``'dense'`` or ``'mixed'``.
        picture: Logits of a mask over the whole picture.
        dense: The best probability of any mask.

    Shape:
        - picture, dense: :math:`(K,)`
    """
    from denseclip.models.functional.class_scores import mixed_scores

    places = dense.float().clamp_min(torch.finfo(torch.float32).tiny).log()
    if scorer == 'dense':
        return places
    assert picture is not None
    return picture.float() if scorer == 'picture' else mixed_scores(picture, places)
