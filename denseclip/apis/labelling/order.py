"""What is asked of labels, and what a model makes of it; light, since every process of a cluster reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from denseclip.apis.errors import UserError
from denseclip.apis.labelling.layouts import LAYOUTS
from denseclip.apis.labelling.objects import Rules
from denseclip.apis.labelling.store import Run
from denseclip.apis.predictor import Predictor
from denseclip.clip.vocabulary import Vocabulary

PICTURES = ('link', 'copy', 'none')
"""How pictures come into the labelled folder."""


@dataclass(frozen=True)
class Order:
    """What is asked of a labelled folder.

    Attributes:
        layout: Name of a layout, see :data:`~denseclip.apis.labelling.layouts.LAYOUTS`.
        rules: Which findings become objects.
        tolerance: How far polygons may run from the edges of pixels.
        pictures: One of :data:`PICTURES`.
        confidences: Whether to write how sure the model is of each pixel.
        model: Options that name the model, as they were given.
    """

    layout: str = 'coco'
    rules: Rules = Rules()
    tolerance: float = 0.0
    pictures: str = 'link'
    confidences: bool = False
    model: Mapping[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        """Refuse what does not go together.

        Raises:
            UserError: If there is no such layout or way, or a number is out of range.
        """
        if self.layout not in LAYOUTS:
            raise UserError(f"no layout is called '{self.layout}'; there are {', '.join(LAYOUTS)}.")
        if self.pictures not in PICTURES:
            raise UserError(f"pictures are put there by {', '.join(PICTURES)}, not by '{self.pictures}'.")
        if not 0 <= self.tolerance < 1000:
            raise UserError(f'--tolerance is {self.tolerance:g}; it is a number of pixels, 0 for exact shapes.')
        if self.confidences and self.layout != 'masks':
            raise UserError('--confidences are written beside label maps: give --to masks, or leave them out.')

    def options(self) -> dict[str, Any]:
        """Those that change labels or files, for the record."""
        return {
            'tolerance': self.tolerance,
            'pictures': self.pictures,
            'confidences': self.confidences,
            **vars(self.rules),
        }


def run_of(model: Predictor, source: str, order: Order) -> Run:
    """What the labels depend on.

    Args:
        model: What labels.
        source: What the pictures' place is called.
        order: What is asked for.

    Raises:
        UserError: If the model gives no labels, or none that the layout can hold.
    """
    if model.task == 'anomaly':
        raise UserError("this model finds anomalies; use 'denseclip anomaly', or label with a model of classes.")
    if order.confidences and model.task != 'semantic':
        raise UserError(f'{model.task} results have no confidence of pixels: leave --confidences out.')
    vocabulary = getattr(model, 'vocabulary', None)
    if isinstance(vocabulary, Vocabulary):
        words, names = vocabulary.to_dict(), vocabulary.names
        background = vocabulary.background != 'none' and model.task == 'semantic'
    else:
        names = tuple(model.names)  # type: ignore[attr-defined]
        words, background = {'classes': {name: [] for name in names}, 'background': 'none'}, False
    background = background or (model.task == 'instance' and order.layout == 'masks')
    return Run(source, order.layout, tuple(names), background, words, dict(order.model), order.options())


def call_options(model: Predictor, order: Order) -> dict[str, Any]:
    """Options of the model's calls; what it does not know is heeded when objects are made."""
    rules = order.rules
    if hasattr(model, 'detect'):
        return {} if rules.min_confidence is None else {'score': rules.min_confidence}
    if not hasattr(model, 'calibration'):  # an exported model: labels alone
        if rules.min_confidence is not None or order.confidences:
            raise UserError('exported models give no confidence: leave --min-confidence and --confidences out.')
        return {}
    wished: dict[str, Any] = {'min_confidence': rules.min_confidence, 'min_area': rules.min_area}
    return wished | ({'pixel_scores': True} if order.confidences else {})
