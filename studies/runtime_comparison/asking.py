"""What models of the comparison are asked; nothing heavy is imported, so that starts can be measured."""

from __future__ import annotations

from typing import Any

WORDS = 'sky; building; road; tree; car; pedestrian'
THING = 'metal nut'
ANOMALY = ('winclip', 'april-gan', 'anovl')
CLOSED = ('denseclip-rn50',)
"""The paper's DenseCLIP, whose head is built for the 150 classes of its training."""


def ask(name: str, model: Any, picture: Any) -> Any:
    """What a model, of PyTorch or exported, says of a picture."""
    if name in ANOMALY:
        return model.localize(picture, THING)
    if name == 'mask-rcnn':
        return model.detect(picture, 0.0)
    return model.segment(picture, None if name in CLOSED else WORDS, scores=False)
