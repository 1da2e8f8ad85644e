"""Linear layers of APRIL-GAN (github.com/ByChelsea/VAND-APRIL-GAN) and back.

Their files hold ``trainable_linearlayer``: ``fc.0 .. fc.3``, one layer per tapped block. Ours keep these names.
"""

from __future__ import annotations

import re

from torch import Tensor

from ..errors import WeightMismatchError
from .registry import Converter, State, register

_KEY = re.compile(r'fc\.\d+\.(weight|bias)')


def forward(state: State) -> dict[str, Tensor]:
    """Check that a file holds these layers and nothing else.

    Raises:
        WeightMismatchError: If it is another file.
    """
    others = sorted(key for key in state if not _KEY.fullmatch(key))
    if others or not state:
        raise WeightMismatchError(
            f"no linear layers of APRIL-GAN: expected fc.0.weight ..., found '{(others or ['nothing'])[0]}'."
        )
    return dict(state)


def backward(state: State) -> dict[str, Tensor]:
    """The linear layers of a model of ours, the frozen CLIP left out."""
    return {key: value for key, value in state.items() if _KEY.fullmatch(key)}


register(
    'april_gan',
    Converter(forward, backward, 'linear layers of VAND-APRIL-GAN for AprilGAN', wrapper='trainable_linearlayer'),
)
