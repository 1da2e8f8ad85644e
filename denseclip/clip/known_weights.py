"""CLIPs that their authors publish as files of their own: what belongs to the weights and does not stand in them.

Their names are taken as ``tag=`` of a file, beside the tags of open_clip. Licences are those that the authors' pages
state; where the weights have another one than the code, it is that of the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from open_clip.constants import IMAGENET_MEAN, IMAGENET_STD, OPENAI_DATASET_MEAN, OPENAI_DATASET_STD

_OPENAI = {'mean': OPENAI_DATASET_MEAN, 'std': OPENAI_DATASET_STD, 'interpolation': 'bicubic'}
_IMAGENET = {'mean': IMAGENET_MEAN, 'std': IMAGENET_STD, 'interpolation': 'bilinear'}
_HALF = {'mean': (0.5, 0.5, 0.5), 'std': (0.5, 0.5, 0.5), 'interpolation': 'bicubic', 'resize_mode': 'squash'}


_PAGE = 'see its page'


@dataclass(frozen=True)
class KnownWeights:
    """Weights in a file.

    Attributes:
        name: Taken as ``tag=``.
        architecture: Of open_clip; ``'-'``: told from the file, which stands for itself.
        layout: See ``denseclip.weights.convert.clip_family``; ``'plain'``: open_clip's or OpenAI's names.
        quick_gelu: Activation, of the text tower where the image tower has its own.
        looks: Mean, std, interpolation, resize mode.
        licence: Of the weights.
        source: Where they are published.
        base: Weights of the whole that a part is laid over, a tag of open_clip.
        seen: Whether names and sizes were read in the authors' code; else the layout is what their code would write.
    """

    name: str
    architecture: str
    layout: str
    quick_gelu: bool
    looks: Mapping[str, Any]
    licence: str
    source: str
    base: str | None = None
    seen: bool = True


def _family(names: str, *facts: Any, **more: Any) -> list[KnownWeights]:
    """Rows that differ in name and architecture alone: ``'name:architecture name:architecture'``."""
    pairs = [pair.split(':') for pair in names.split()]
    return [KnownWeights(name, architecture, *facts, **more) for name, architecture in pairs]


KNOWN: tuple[KnownWeights, ...] = (
    *_family(
        'longclip-b:ViT-B-16 longclip-l:ViT-L-14',
        *('long_clip', True, _OPENAI, 'Apache-2.0', 'https://github.com/beichenzbc/Long-CLIP'),
    ),
    *_family('clipn:ViT-B-16', 'clipn', False, _OPENAI, 'MIT', 'https://github.com/xmed-lab/CLIPN'),
    *_family(
        'maple:ViT-B-16',
        *('maple', True, _OPENAI, 'MIT', 'https://github.com/muzairkhattak/multimodal-prompt-learning', 'openai'),
    ),
    *_family(
        'cloob-rn50:RN50 cloob-vit-b16:ViT-B-16',
        *('cloob', True, _OPENAI, _PAGE, 'https://github.com/ml-jku/cloob'),
    ),
    *_family('slip:-', 'slip', True, _IMAGENET, _PAGE, 'https://github.com/facebookresearch/SLIP'),
    *_family('laclip:-', 'slip', True, _IMAGENET, _PAGE, 'https://github.com/LijieFan/LaCLIP'),
    *_family('aclip:-', 'slip', True, _IMAGENET, 'MIT', 'https://github.com/microsoft/A-CLIP'),
    *_family('dreamlip:ViT-B-16', 'plain', False, _OPENAI, 'CC-BY-4.0', 'https://github.com/zyf0619sjtu/DreamLIP'),
    *_family(
        'diva-openai:ViT-L-14 diva-openai-336:ViT-L-14-336',
        *('plain', True, _OPENAI, _PAGE, 'https://huggingface.co/BAAI/DIVA', 'openai'),
        seen=False,
    ),
    *_family(
        'diva-metaclip:ViT-L-14 diva-metaclip-h:ViT-H-14',
        *('plain', True, _OPENAI, _PAGE, 'https://huggingface.co/BAAI/DIVA', 'metaclip_fullcc'),
        seen=False,
    ),
    *_family(
        'diva-dfn:ViT-H-14 diva-dfn-378:ViT-H-14-378',
        *('plain', True, _OPENAI, _PAGE, 'https://huggingface.co/BAAI/DIVA', 'dfn5b'),
        seen=False,
    ),
    *_family(
        'diva-siglip:ViT-SO400M-14-SigLIP diva-siglip-384:ViT-SO400M-14-SigLIP-384',
        *('plain', False, _HALF, _PAGE, 'https://huggingface.co/BAAI/DIVA', 'webli'),
        seen=False,
    ),
    *_family(
        'un2clip:ViT-L-14 un2clip-336:ViT-L-14-336',
        *('image_tower', True, _OPENAI, _PAGE, 'https://github.com/LiYinqi/un2CLIP', 'openai'),
        seen=False,
    ),
    *_family(
        'veclip-b:ViT-B-16 veclip-l:ViT-L-14',
        *('transformers', True, _OPENAI, _PAGE, 'https://github.com/apple/ml-veclip'),
        seen=False,
    ),
)
"""All of them; the towers of open_clip's own tags (MetaCLIP, MobileCLIP, DFN, SigLIP ...) need no row."""


def known(name: str) -> KnownWeights | None:
    """The row of a name."""
    return next((row for row in KNOWN if row.name == name), None)


def entry_of(name: str) -> dict[str, Any] | None:
    """What open_clip would say of a tag: ``quick_gelu``, mean, std ..."""
    row = known(name)
    return None if row is None else {'quick_gelu': row.quick_gelu, **row.looks}
