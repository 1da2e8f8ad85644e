"""Scores spread along a picture's edges, as the solution of one linear system on a coarse grid (PEARL)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from denseclip.core.placement import Size, resize, size_of, whole_multiples
from denseclip.core.precision import full_precision

from .conjugate_gradient import conjugate_gradient

COUPLINGS = ('diagonal', 'full')
RESTS = ('stretched', 'cell')
_TINY = 1e-6
_LEAST_CONFIDENCE = 0.05
_OWN = 10.0
_TEXT_TEMPERATURE = 0.5
_EDGE_SHARPNESS = 5.0


def class_similarity(text: Tensor) -> Tensor:
    """How alike classes are by their embeddings (K, E): rows of a softmax, each class ten times itself besides."""
    unit = F.normalize(text.float(), dim=-1)
    rows = (unit @ unit.T / _TEXT_TEMPERATURE).softmax(dim=1)
    rows = rows + _OWN * torch.eye(len(rows), dtype=rows.dtype, device=rows.device)
    return rows / (rows.sum(dim=1, keepdim=True) + _TINY)


def agreement(here: Tensor, there: Tensor, similarity: Tensor, coupling: str = 'diagonal') -> Tensor:
    """How far two sets of probabilities mean the same, 0..1.

    Args:
        here: Probabilities of the classes.
        there: Others.
        similarity: See :func:`class_similarity`.
        coupling: ``'diagonal'``: a class agrees with itself alone, as in PEARL's code, whose product takes the
            similarity's diagonal. ``'full'``: also with classes that are alike, as its text says.

    Shape:
        - here and there: :math:`(N, K, h, w)`; similarity: :math:`(K, K)`; result: :math:`(N, 1, h, w)`
    """
    if coupling == 'diagonal':
        moved = similarity.diagonal()[:, None, None] * there
    else:
        moved = torch.einsum('kc,nchw->nkhw', similarity, there)
    return (here * moved).sum(dim=1, keepdim=True).clamp(0, 1)


def edge_weights(gray: Tensor, dim: int) -> Tensor:
    """How much neighbours along an axis belong together: less, the stronger the edge between them.

    Shape:
        - gray: :math:`(N, 1, h, w)`; result: one shorter along ``dim``
    """
    step = gray.diff(dim=dim).abs()
    mean = step.mean() if step.numel() else step.new_zeros(())
    return torch.exp(-_EDGE_SHARPNESS * step / (mean + _TINY))


def laplacian(x: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """Differences from the neighbours, weighted.

    Args:
        x: Planes.
        down: Weights between rows.
        across: Weights between columns.

    Shape:
        - x and result: :math:`(N, K, h, w)`; down: :math:`(N, 1, h - 1, w)`; across: :math:`(N, 1, h, w - 1)`
    """
    flow_down, flow_across = down * x.diff(dim=2), across * x.diff(dim=3)
    padded_down, padded_across = F.pad(flow_down, (0, 0, 1, 1)), F.pad(flow_across, (1, 1, 0, 0))
    return -padded_down.diff(dim=2) - padded_across.diff(dim=3)


@dataclass(frozen=True)
class Propagation:
    """How scores follow the picture's edges: sure places keep theirs, others take those of their surroundings.

    Solves ``(C + L) x = C scores`` on a small grid, where C is the confidence of each cell and L the Laplacian of the
    picture's edges; both are stronger where texts say that the classes agree. Computed in float32 under autocast.

    Source: PEARL (Pei et al., CVPR 2026), section on text-aware Laplacian propagation; constants of ``pearl/prop.py``
    at c26062b. There confidence comes from cosines as they are (``scale=1``): with more than some twenty classes it is
    the same everywhere, and the smoothing is strong.

    Attributes:
        grid: Cells along each side that the system aims at.
        coupling: See :func:`agreement`.
        scale: Factor of the scores before the softmax that confidence comes from.
        iterations: Steps of the solver.
        rest: What becomes of the pixels at the right and bottom that are left of a side that is no whole number of
            cells. ``'stretched'``: no cell sees them, and the others are stretched over them, as in PEARL's code; this
            moves what lies there by as many pixels. ``'cell'``: they are a smaller cell, and nothing moves.
    """

    grid: int = 80
    coupling: str = 'diagonal'
    scale: float = 1.0
    iterations: int = 25
    rest: str = 'stretched'

    def __post_init__(self) -> None:
        for name, value, known in (('coupling', self.coupling, COUPLINGS), ('rest', self.rest, RESTS)):
            if value not in known:
                raise ValueError(f"{name}='{value}' is unknown; choose from {', '.join(known)}.")
        if self.grid < 1 or self.iterations < 1:
            raise ValueError('propagation: grid and iterations must be 1 or more.')

    def in_cells(self, planes: Tensor) -> Tensor:
        """Means of the cells, (N, K, H, W) to (N, K, h, w)."""
        sides = self._sides(size_of(planes))
        return F.avg_pool2d(planes.float(), sides, ceil_mode=self.rest == 'cell', count_include_pad=False)

    def extent(self, size: Size) -> Size:
        """Pixels that all cells of planes of a size lie over; no less than the size."""
        return size if self.rest == 'stretched' else whole_multiples(size, self._sides(size))

    def _sides(self, size: Size) -> Size:
        return max(1, round(size[0] / self.grid)), max(1, round(size[1] / self.grid))

    def solve(self, picture: Tensor, scores: Tensor, text: Tensor | None = None) -> Tensor:
        """The system's solution.

        Args:
            picture: Colours of the cells, in any scale.
            scores: Cosines of the classes.
            text: Embeddings of the classes; None: no text is asked.

        Raises:
            ValueError: If there are not as many texts as scores.

        Shape:
            - picture: :math:`(N, 3, h, w)`; scores and result: :math:`(N, K, h, w)`; text: :math:`(K, E)`
        """
        if text is not None and len(text) != scores.shape[1]:
            raise ValueError(
                f'propagation needs one text per plane of scores: {len(text)} texts, {scores.shape[1]} planes.'
            )
        with full_precision(scores.device.type):
            return self._solve(picture.float(), scores.float(), text)

    def _solve(self, picture: Tensor, scores: Tensor, text: Tensor | None) -> Tensor:
        gray = (picture * picture.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(dim=1, keepdim=True)
        probabilities = (scores * self.scale).softmax(dim=1)
        confidence = probabilities.amax(dim=1, keepdim=True).clamp_min(_LEAST_CONFIDENCE) ** 2
        down, across = edge_weights(gray, 2), edge_weights(gray, 3)
        if text is not None:
            like = class_similarity(text)
            confidence = confidence * (1 + agreement(probabilities, probabilities, like, self.coupling))
            above, left = probabilities[:, :, :-1], probabilities[:, :, :, :-1]
            down = (down * (1 + agreement(probabilities[:, :, 1:], above, like, self.coupling))).clamp(0, 1)
            across = (across * (1 + agreement(probabilities[:, :, :, 1:], left, like, self.coupling))).clamp(0, 1)

        def system(x: Tensor) -> Tensor:
            return confidence * x + laplacian(x, down, across)

        return conjugate_gradient(system, confidence * scores, self.iterations, scores, dims=(1, 2, 3))


def propagate(image: Tensor, scores: Tensor, text: Tensor | None = None, how: Propagation | None = None) -> Tensor:
    """Scores that follow a picture's edges, all of them in its size.

    Args:
        image: Pictures, in any scale.
        scores: Cosines of the classes, of the pictures' size.
        text: Embeddings of the classes; None: no text is asked.
        how: Settings; None: those of PEARL.

    Raises:
        ValueError: See :meth:`Propagation.solve`.

    Shape:
        - image: :math:`(N, 3, H, W)`; scores and result: :math:`(N, K, H, W)`; text: :math:`(K, E)`
    """
    how = Propagation() if how is None else how
    height, width = size_of(scores)
    solved = how.solve(how.in_cells(image), how.in_cells(scores), text)
    return resize(solved, how.extent((height, width)))[..., :height, :width].to(scores.dtype)
