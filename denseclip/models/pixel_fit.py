"""Make a head of labelled pictures: statistics in one pass, and a choice of three numbers on pixels held out.

Nothing is trained, and no test picture is looked at. The rule: the pictures are divided into at most :data:`FOLDS`
parts (one picture into its left and its right half); each part is labelled by a head made of the others, for every
:data:`ALPHAS` x :data:`ISOTROPIC` x :data:`PRIORS`; the first with the best mIoU over all parts together is taken. The
first of all is the text alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor

from denseclip.clip.vocabulary import Vocabulary
from denseclip.models.functional.gaussian import (
    ClassStatistics,
    gaussian_classifier,
    mix_scores,
    shrunk_precision,
    squared_mahalanobis,
)

from .pixel_head import PixelGDAHead
from .pixel_samples import Cells, LabelledPicture

ALPHAS = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Weights of the Gaussian scores; 1 is Bayes' rule with the text as a prior."""
ISOTROPIC = (1.0, 0.1, 0.01)
"""Variance of the mean eigenvalue that is added to the covariance in all directions, as parts of it."""
PRIORS = (0.0, 0.5, 1.0)
"""Powers of the classes' frequencies: 0 makes all classes alike."""
FOLDS = 5
QUANTILES = 1000
_HELD = 60_000  # cells that are kept to choose on, of all pictures together


@dataclass(frozen=True)
class Choice:
    """What was chosen on held-out cells, and what a head does there.

    Attributes:
        miou: Of the held-out cells with these.
        text_miou: By the text alone.
        alpha: Weight of the Gaussian scores; None, as the next two, for heads that choose nothing.
        isotropic: See :data:`ISOTROPIC`.
        prior: See :data:`PRIORS`.
    """

    miou: float
    text_miou: float
    alpha: float | None = None
    isotropic: float | None = None
    prior: float | None = None


def true_precision(statistics: ClassStatistics, isotropic: float) -> Tensor:
    """Inverse of the shared covariance, (D, D).

    Pixels of a picture are alike, so their number says nothing of how well a covariance is known. The estimate of
    :func:`shrunk_precision` is made as if there were as many samples as add ``isotropic`` of the mean variance in all
    directions, and is scaled to be an inverse covariance.
    """
    dim = statistics.outer.shape[0]
    samples = 1 + dim / isotropic
    covariance = statistics.scatter / max(statistics.total - 1, 1)
    scaled = shrunk_precision(covariance * (samples - 1), samples)
    return scaled if torch.equal(scaled, torch.eye(dim, dtype=scaled.dtype)) else scaled * (samples - 1) / dim


def class_priors(count: Tensor, power: float) -> Tensor:
    """Probabilities of classes in proportion to a power of their frequency, (S,)."""
    raised = (count / count.sum()).double() ** power
    return raised / raised.sum()


class Gathering:
    """Takes the cells of one picture after the other; keeps statistics, and some cells to choose on.

    Args:
        vocabulary: The classes.
        pictures: How many there will be.
        seed: Of the choice of the cells that are kept.

    Attributes:
        wants_regions: Whether pictures need the sums over the regions of their classes.
    """

    wants_regions = False

    def __init__(self, vocabulary: Vocabulary, pictures: int, seed: int = 0) -> None:
        self.vocabulary = vocabulary
        self.kept: list[Cells] = []
        self.statistics: list[ClassStatistics] = []
        self.halves = pictures == 1
        self._parts = 2 if self.halves else min(FOLDS, pictures)
        self._each = max(_HELD // max(pictures, 1), 50)
        self._random = torch.Generator(device='cpu').manual_seed(seed)
        self._count = 0

    def add(self, seen: LabelledPicture) -> None:
        """One more picture, of which the cells count."""
        cells = seen.cells
        if not self.statistics:
            empty = ClassStatistics.empty(len(self.vocabulary), cells.features.shape[1])
            self.statistics = [empty] * self._parts
            self.kept = [_none_of(cells)] * self._parts
        left = cells.columns < 0.5
        groups = [cells[left], cells[~left]] if self.halves else [cells]
        for offset, group in enumerate(groups):
            fold = (self._count + offset) % self._parts
            found = ClassStatistics.of(group.features, group.labels, len(self.vocabulary))
            self.statistics[fold] = self.statistics[fold] + found
            some = torch.randperm(len(group.labels), generator=self._random)[: self._each]
            self.kept[fold] = Cells.together([self.kept[fold], group[some]])
        self._count += 1

    def head(self, space: Mapping[str, str], facts: Mapping[str, Any] | None = None) -> tuple[PixelGDAHead, Choice]:
        """The head of all that was gathered, and how it was chosen.

        Args:
            space: See :func:`denseclip.models.pixel_head.feature_space`.
            facts: See :class:`PixelGDAHead`.

        Raises:
            ValueError: If no cell has a class.
        """
        if not self.statistics or not sum(found.total for found in self.statistics):
            raise ValueError('no cell of the pictures has a class')
        whole = _sum(self.statistics)
        (alpha, isotropic, prior), choice = self._choose()
        seen = whole.seen.nonzero()[:, 0]
        names = self.vocabulary.names
        head = PixelGDAHead(
            tuple(names[k] for k in seen.tolist()),
            whole.means[seen].float(),
            true_precision(whole, isotropic).float(),
            class_priors(whole.count[seen], prior).float(),
            alpha,
            self._quantiles(isotropic),
            space,
            self.vocabulary,
            facts or {},
        )
        return head, choice

    def _others(self) -> Iterable[tuple[Cells, ClassStatistics]]:
        """Held-out cells, and the statistics of all parts but theirs; parts without cells or others are left out."""
        for number, cells in enumerate(self.kept):
            others = _sum([found for k, found in enumerate(self.statistics) if k != number])
            if len(cells.labels) and others.total:
                yield cells, others

    def _choose(self) -> tuple[tuple[float, float, float], Choice]:
        classes = len(self.vocabulary)
        settings = [(0.0, ISOTROPIC[0], PRIORS[0])]
        settings += [(a, i, p) for i, p, a in product(ISOTROPIC, PRIORS, ALPHAS) if a]
        tables = {setting: torch.zeros(classes, classes, dtype=torch.long, device='cpu') for setting in settings}
        for cells, others in self._others():
            tables[settings[0]] += confusion(cells.logits[:, :classes].argmax(dim=1), cells.labels, classes)
            seen = others.seen.nonzero()[:, 0]
            for isotropic in ISOTROPIC:
                precision = true_precision(others, isotropic)
                for prior in PRIORS:
                    weights = class_priors(others.count[seen], prior)
                    weight, bias = gaussian_classifier(others.means[seen], precision, weights)
                    scores = cells.features @ weight.float() + bias.float()
                    for alpha in ALPHAS[1:]:
                        found = mix_scores(cells.logits, scores, seen, alpha)[:, :classes].argmax(dim=1)
                        tables[alpha, isotropic, prior] += confusion(found, cells.labels, classes)
        scores_of = {setting: mean_iou(table) for setting, table in tables.items()}
        best = max(settings, key=lambda setting: scores_of[setting])
        return best, Choice(scores_of[best], scores_of[settings[0]], *best)

    def _quantiles(self, isotropic: float) -> Tensor:
        """Squared distances of held-out cells from the nearest mean of the others, see :class:`PixelGDAHead`."""
        found = []
        for cells, others in self._others():
            seen = others.seen.nonzero()[:, 0]
            apart = squared_mahalanobis(cells.features.double(), others.means[seen], true_precision(others, isotropic))
            found.append(apart.amin(dim=1))
        if not found:
            return torch.full((1,), torch.inf)
        steps = torch.linspace(0, 1, QUANTILES + 1, dtype=torch.float64)
        return torch.cat(found).quantile(steps).float()


def _sum(parts: Sequence[ClassStatistics]) -> ClassStatistics:
    first, *rest = parts
    for part in rest:
        first = first + part
    return first


def _none_of(cells: Cells) -> Cells:
    return cells[torch.zeros(0, dtype=torch.long)]


def confusion(found: Tensor, truth: Tensor, classes: int) -> Tensor:
    """How often each class is taken for each, (K, K): rows are the truth."""
    return torch.bincount(truth * classes + found, minlength=classes * classes).view(classes, classes)


def mean_iou(table: Tensor) -> float:
    """Mean over the classes that occur of intersection over union, in percent."""
    hits = table.diag().double()
    union = table.sum(dim=0) + table.sum(dim=1) - table.diag()
    there = table.sum(dim=1) > 0
    return float((hits / union.clamp_min(1))[there].mean() * 100) if bool(there.any()) else 0.0
