"""What a protocol does with one set: resizing, windows, class names and the rule for background."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from denseclip.recipes import eval_steps

BACKGROUNDS = ('none', 'prompt', 'learned', 'threshold')


@dataclass(frozen=True)
class Setting:
    """What a protocol does with one set.

    Attributes:
        vocabulary: Class list of the suite; label ids are positions in it.
        scale: Longest and shortest side that a picture must fit into after resizing; its shape is kept.
        crop: Height and width of a window; None runs the whole picture.
        stride: Vertical and horizontal step of the windows.
        background: ``'none'``: the set has no background class. ``'prompt'``: label 0 is a class like all others, with
            its own words. ``'learned'``: the same, and a model that has learned what is background (CLIP-DINOiser) also
            applies its rule. ``'threshold'``: label 0 has words and also takes pixels whose best class is less
            probable than ``prob_threshold``.
        prob_threshold: Probability, 0..1.
        area_threshold: Share of the labelled pixels, 0..1, that a class must exceed to be kept.
        logit_scale: Factor of the cosines before the softmax; None leaves the method's own.
        tuned: What the protocol's own method has otherwise on this set: settings of ``read_out``, ``post``,
            ``affinity`` and ``sam``, and of the ``model`` itself.
    """

    vocabulary: str
    scale: tuple[int, int]
    crop: tuple[int, int] | None = None
    stride: tuple[int, int] | None = None
    background: str = 'none'
    prob_threshold: float | None = None
    area_threshold: float | None = None
    logit_scale: float | None = None
    tuned: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        if self.background not in BACKGROUNDS:
            raise ValueError(f"background '{self.background}' is unknown; choose from {', '.join(BACKGROUNDS)}")
        if (self.background == 'threshold') != (self.prob_threshold is not None):
            raise ValueError("prob_threshold and background='threshold' need each other")
        if (self.crop is None) != (self.stride is None):
            raise ValueError('crop and stride need each other')

    def pipeline(self, num_classes: int | None = None, *, wide: bool = False) -> list[dict[str, Any]]:
        """Test pipeline; labels are read after resizing, so that the score is taken in the original size.

        Args:
            num_classes: Ids below it may occur; None leaves them unchecked.
            wide: Labels are 16-bit.
        """
        return eval_steps(dict(type='Resize', scale=self.scale, keep_ratio=True), num_classes, wide=wide)

    def test_cfg(self) -> dict[str, Any]:
        """The model's ``test_cfg``."""
        if self.crop is None:
            return dict(mode='whole')
        return dict(mode='slide', crop_size=self.crop, stride=self.stride)

    def post(self) -> dict[str, Any]:
        """Settings of the model's ``post`` for the background."""
        if self.background != 'threshold':
            return {}
        area = {} if self.area_threshold is None else dict(area_threshold=self.area_threshold)
        return dict(background=0, prob_threshold=self.prob_threshold, **area)
