"""``--runtime``: an exported model instead of a PyTorch one."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from denseclip.apis.errors import UserError

if TYPE_CHECKING:
    from denseclip.clip.vocabulary import Vocabulary
    from denseclip.runtime.model import RuntimeModel

_OTHERS = (
    'model',
    'config',
    'weights',
    'preset',
    'clip',
    'pretrained',
    'method',
    'task',
    'things',
    'score',
    'masks',
    'stage',
    'device',
    'trust',
    'compile',
)
"""Options that ask for another model."""


def load_runtime(args: argparse.Namespace, vocabulary: Vocabulary | None) -> RuntimeModel:
    """The exported model that ``--runtime`` names.

    Raises:
        UserError: If options are given that do not go with it, or it cannot be used.
    """
    check_others(args)
    from denseclip.runtime.model import load

    model = load(args.runtime, vocabulary)
    _ = model.vocabulary  # said before any picture is read: there are no words
    return model


def check_others(args: argparse.Namespace) -> None:
    """Refuse options that ask for another model.

    Raises:
        UserError: If some are given.
    """
    given: list[Any] = [name for name in _OTHERS if getattr(args, name, None) not in (None, False)]
    given += [name for name, usual in (('precision', 'fp32'), ('layout', 'auto')) if getattr(args, name) != usual]
    if given:
        listed = ', '.join('--' + name.replace('_', '-') for name in given)
        raise UserError(f'--runtime runs an exported model, which knows no {listed}; leave one of them out.')
