"""A sentence encoder as text side of DenseCLIP, for machines and licences without CLIP weights."""

from __future__ import annotations

from typing import Any

from mmengine.registry import MODELS

from denseclip.clip.text import SentenceTextTower
from denseclip.clip.text.sentence import DEFAULT_SOURCE

from .base import TextContextEncoder


@MODELS.register_module()
class SentenceTextContextEncoder(TextContextEncoder):
    """MiniLM (or another BERT sentence encoder) with DenseCLIP's call; E = W.

    A frozen encoder's weights come from ``source`` when it is built and are left out of checkpoints
    (``not_saved_prefixes``): a checkpoint then holds only what was learned.

    Args:
        source: folder of the encoder, in any form that ``denseclip.weights.resolve`` knows.
        frozen: see :class:`TextContextEncoder`.
        load_weights: False builds the architecture with fresh weights, which then belong into checkpoints.
    """

    def __init__(self, source: str = DEFAULT_SOURCE, frozen: bool = True, load_weights: bool = True) -> None:
        super().__init__(SentenceTextTower(source, load_weights=load_weights), frozen)
        self.not_saved_prefixes: tuple[str, ...] = ('tower.',) if frozen and load_weights else ()
        self.register_state_dict_post_hook(_drop_not_saved)
        self.register_load_state_dict_pre_hook(_supply_not_saved)


def _drop_not_saved(module: SentenceTextContextEncoder, state: dict[str, Any], prefix: str, _: Any) -> None:
    for key in [key for key in state if module.not_saved_prefixes and key.startswith(f'{prefix}tower.')]:
        del state[key]


def _supply_not_saved(module: SentenceTextContextEncoder, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Let strict loading accept files without the weights that are never saved."""
    if module.not_saved_prefixes:
        for key, value in module.tower.state_dict(prefix=f'{prefix}tower.').items():
            state.setdefault(key, value)
