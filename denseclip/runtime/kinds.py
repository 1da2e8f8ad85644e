"""Kinds of exported models: what their manifests say of results, and what runs them. A new one is a row here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class States:
    """How the name of an object becomes the input ``text`` of an anomaly model, its good and its bad state.

    Attributes:
        prompts: Fields of a prompt set, see :class:`denseclip.clip.anomaly_prompts.PromptSet`.
        object: What pictures show where a call does not say it; None: every call has to.
        domain: Kind of pictures then; None: by the object's name.
        defects: Own defect words then.
        tile: Side of the square tiles that pictures are cut into; None: the graph sees them whole.
    """

    prompts: Mapping[str, Any]
    object: str | None = None
    domain: str | None = None
    defects: str | tuple[str, ...] | None = None
    tile: int | None = None


@dataclass(frozen=True)
class Masks:
    """How the masks and scores of a query-based model become results.

    Attributes:
        combine: Whose classes count: ``'ensemble'``, the weighted geometric mean of both classifiers, or ``'clip'``.
        alpha: Weight of CLIP for classes seen in training.
        beta: Weight of CLIP for new classes.
        seen: Names that were trained.
        valid: Whether the graph says which masks CLIP has a say for.
        task: ``'semantic'``, ``'panoptic'`` or ``'instance'``, where a call does not say it.
        things: Countable classes among the model's own; None: by their words.
        score_threshold: Segments at or below this class probability are left out.
        overlap_threshold: Segments that win less than this share of their mask are left out.
        topk: Pairs of mask and class that become instances.
        merge_first: Whether class planes instead of masks are cut and resized to the picture.
        void_trust: How far CLIP's certainty of a class lowers the probability of nothing, 0..1.
        guided: Whether the graph also takes ``prompts``, a row for each class.
    """

    combine: str
    alpha: float
    beta: float
    seen: tuple[str, ...]
    valid: bool
    task: str
    things: tuple[str, ...] | None
    score_threshold: float
    overlap_threshold: float
    topk: int
    merge_first: bool
    void_trust: float = 0.0
    guided: bool = False

    def __post_init__(self) -> None:
        if self.combine not in ('ensemble', 'clip'):
            raise ValueError(f'classifiers put together by {self.combine!r}')


@dataclass(frozen=True)
class Regions:
    """How masks, and pictures of them, become results of a two-stage model.

    Attributes:
        scale: Factor of the cosines before a softmax.
        stages: Whose classes count: ``'both'``, the ``'first'`` or the ``'second'``.
        weight: Weight of the second stage, 0..1.
        selection: ``'all'`` masks, or the ``'best'`` one of each class.
        threshold: A pixel is in a mask if its share is above this.
        size: Height and width of pictures of masks, where there is a second stage.
        mean: Of each channel of them, in 0..255.
        std: Of each channel of them, in 0..255.
        fill: RGB of what a mask leaves out.
        expand: Factor of the sides of the masks' boxes.
        matting: Whether masks are mixed in by their shares instead of cut.
        prompted: Whether the graph ``regions`` takes masks.
        at_once: Pictures of masks per run of it.
        min_area: Masks that cover less of the picture are left to the first stage.
        max_overlap: Masks that overlap another by more take its embedding; None: all have their own.
        guided: Whether the graph ``image`` also takes ``prompts``, a row for each class.
    """

    scale: float
    stages: str
    weight: float
    selection: str
    threshold: float
    size: tuple[int, int] = (0, 0)
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    fill: tuple[float, ...] = ()
    expand: float = 1.0
    matting: bool = False
    prompted: bool = False
    at_once: int = 32
    min_area: float = 0.0
    max_overlap: float | None = None
    guided: bool = False

    def __post_init__(self) -> None:
        if self.stages not in ('both', 'first', 'second') or self.selection not in ('all', 'best'):
            raise ValueError(f'classes of {self.stages!r} stages and {self.selection!r} masks')


@dataclass(frozen=True)
class Boxes:
    """How the boxes of a detector become results.

    Attributes:
        score: What scores have to be above.
        most: Most objects of a picture.
        mask: Least probability of a pixel of an object; None of detectors without masks.
        least_score: Least confidence of an object, where a call does not say it.
    """

    score: float
    most: int
    mask: float | None
    least_score: float


@dataclass(frozen=True)
class Kind:
    """A kind of exported models.

    Attributes:
        rule: How outputs of the graph become results; None: they are scores of classes.
        module: Of ``denseclip.runtime``, where the class lies that runs them.
        model: Name of the class.
        hint: What runs them, for people.
    """

    rule: type | None
    module: str
    model: str
    hint: str

    def load(self) -> Any:
        """The class that runs them."""
        return getattr(import_module(f'denseclip.runtime.{self.module}'), self.model)


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        'labels': Kind(None, 'model', 'RuntimeModel', 'which segments; use: denseclip segment'),
        'masks': Kind(Masks, 'masks', 'RuntimeMaskModel', 'which segments by masks; use: denseclip segment'),
        'regions': Kind(Regions, 'regions', 'RuntimeRegionModel', 'which segments by masks; use: denseclip segment'),
        'states': Kind(States, 'anomaly', 'RuntimeAnomalyModel', 'which finds defects; use: denseclip anomaly'),
        'boxes': Kind(Boxes, 'boxes', 'RuntimeBoxModel', 'which finds objects; use: denseclip detect'),
    }
)
"""By the key of the rule in the manifest."""


def read_rule(content: Mapping[str, Any]) -> Any:
    """The rule in a manifest; None where there is none.

    Raises:
        TypeError: If it is not complete.
        ValueError: If it says what no version of it says.
    """
    for key, kind in KINDS.items():
        if kind.rule is not None and content.get(key) is not None:
            return kind.rule(**{name: tuple(v) if isinstance(v, list) else v for name, v in content[key].items()})
    return None
