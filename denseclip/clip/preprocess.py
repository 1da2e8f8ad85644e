"""How pictures must look to a tower. This belongs to the weights, not to the data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD


@dataclass(frozen=True)
class PreprocessSpec:
    """Normalisation and size that a tower was trained with.

    Attributes:
        mean: Per channel (RGB), for pixel values in 0..1.
        std: Per channel (RGB), for pixel values in 0..1.
        size: Height and width of the training pictures.
        interpolation: ``'bicubic'`` or ``'bilinear'``.
        resize_mode: ``'shortest'``, ``'longest'`` or ``'squash'``.
    """

    mean: tuple[float, ...] = tuple(OPENAI_DATASET_MEAN)
    std: tuple[float, ...] = tuple(OPENAI_DATASET_STD)
    size: tuple[int, int] = (224, 224)
    interpolation: str = 'bicubic'
    resize_mode: str = 'shortest'

    @classmethod
    def of(cls, data: Mapping[str, Any], size: int | Sequence[int] | None = None) -> PreprocessSpec:
        """From an open_clip ``preprocess_cfg`` or tag entry; ``size`` overrides its own."""
        wanted = size if size is not None else data.get('size', 224)
        pair = (wanted, wanted) if isinstance(wanted, int) else (int(wanted[0]), int(wanted[1]))
        kept = {k: data[k] for k in ('interpolation', 'resize_mode') if data.get(k)}
        for key in ('mean', 'std'):
            if data.get(key) is not None:
                kept[key] = tuple(float(v) for v in data[key])
        return cls(size=pair, **kept)

    def as_255(self) -> dict[str, list[float]]:
        """Mean and std for pixel values in 0..255, as MMEngine's data preprocessors take them."""
        return {'mean': [255.0 * v for v in self.mean], 'std': [255.0 * v for v in self.std]}

    def conflict(self, mean: Sequence[float], std: Sequence[float], tolerance: float = 0.02) -> str | None:
        """What is wrong with a data preprocessor's numbers (0..255), or None when they agree.

        Args:
            mean: The configured mean.
            std: The configured standard deviation.
            tolerance: Relative difference, in units of the right standard deviation, that is let pass.
        """
        own = self.as_255()
        pairs = zip([*own['mean'], *own['std']], [*mean, *std], [*own['std'], *own['std']], strict=True)
        if all(abs(a - b) <= tolerance * scale for a, b, scale in pairs):
            return None
        return (
            f'the data preprocessor normalises with mean {_short(mean)} and std {_short(std)}, but these weights were '
            f'trained with mean {_short(own["mean"])} and std {_short(own["std"])} (0..255, RGB).'
        )


def _short(values: Sequence[float]) -> str:
    return '[' + ', '.join(f'{v:.3f}' for v in values) + ']'
