"""Named settings of the training-free dense methods: what each paper changes, as plain data.

A preset says how the tower is read, how scores become labels, and at which size ``denseclip segment`` looks at
pictures. Thresholds and window sizes that papers tune per data set belong to their protocols
(``denseclip/datasets/open_vocab/protocols.py``, ``configs/maskclip``).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

_NOTHING: Mapping[str, Any] = MappingProxyType({})
_SIZE, _SCALE = {'pos_resize': 'bicubic'}, {'pos_resize': 'bicubic+0.1'}
_BARE = {'residual': False, 'ffn': False}


@dataclass(frozen=True)
class Preset:
    """One method.

    Attributes:
        source: Paper.
        read_out: Settings of :class:`denseclip.clip.towers.DenseReadOut`.
        model: Settings of ``OpenVocabularySegmentor``, such as ``scale``, ``templates`` and ``post``.
        needs: What must be given besides CLIP, for messages; empty for nothing.
        regions: Whether a region provider is among it.
        type: The segmentor's class.
        side: Shorter side that pictures are resized to, in pixels.
        window: Side of a sliding window.
        stride: Step of the windows.
    """

    source: str
    read_out: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    model: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    needs: str = ''
    regions: bool = False
    type: str = 'OpenVocabularySegmentor'
    side: int = 336
    window: int = 224
    stride: int = 112

    @property
    def plug_ins(self) -> tuple[str, ...]:
        """Arguments of the segmentor that bring what is needed; none where it is a checkpoint."""
        parts = (name for name in ('affinity', 'sam') if name in self.model)
        return (*parts, *(('regions',) if self.regions else ()))

    @property
    def is_checkpoint(self) -> bool:
        """Whether what is needed is a checkpoint of the whole method: a config brings it, the name alone cannot."""
        return bool(self.needs) and not self.plug_ins


_LARGE: dict[str, Any] = {'side': 448, 'window': 448, 'stride': 224}
_SOFTMAX_100 = {'scale': 100.0, 'output': 'probabilities', 'templates': 'openai_imagenet'}
_COSINES_40 = {'scale': 40.0, 'output': 'cosines', 'templates': 'openai_imagenet', 'merge': 'max'}
_COSINES_100 = {**_COSINES_40, 'scale': 100.0}
_COSINES_50 = {**_COSINES_40, 'scale': 50.0}
_SUM_TO_ONE = {**_COSINES_40, 'post': {'normalize': True}}
_SC_CLIP = {'attention': 'kk+alike', 'average': True, 'repair': {}, 'middle': {}, **_BARE, **_SCALE}
_PEARL = {**_COSINES_40, 'post': {'normalize': True, 'propagation': {}}}

PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        'clip': Preset(
            'Radford et al., ICML 2021: the last block as trained',
            {'attention': 'qk', **_SCALE},
            _COSINES_40,
        ),
        'maskclip': Preset(
            'Zhou et al., ECCV 2022, as read inside CLIP-DINOiser: value path, residual and FFN kept',
            {'attention': 'value', **_SIZE},
            _SOFTMAX_100,
            **_LARGE,
        ),
        'maskclip_orig': Preset(
            'Zhou et al., ECCV 2022, code of the paper: cosines, zero padding, 85 templates',
            {'attention': 'value', **_SIZE},
            {'scale': 100.0, 'output': 'cosines', 'templates': 'maskclip', 'padding': 'zero'},
            **_LARGE,
        ),
        'sclip': Preset(
            'Wang et al., ECCV 2024: softmax(qq) + softmax(kk), residual and FFN kept',
            {'attention': 'qq+kk', **_SCALE},
            _COSINES_40,
        ),
        'clearclip': Preset(
            'Lan et al., ECCV 2024: softmax(qq), no residual, no FFN',
            {'attention': 'qq', **_BARE, **_SCALE},
            _COSINES_50,
            **_LARGE,
        ),
        'naclip': Preset(
            'Hajimiri et al., WACV 2025: softmax(kk + Gaussian neighbourhood), no residual, no FFN',
            {'attention': 'kk', 'gaussian': 5.0, **_BARE, **_SCALE},
            _SUM_TO_ONE,
        ),
        'gem': Preset(
            'Bousselham et al., CVPR 2024: mean of normalised qq, kk, vv over the last six blocks, on the side',
            # The authors count a depth of 7; their loop changes blocks -1 to -6.
            {'attention': 'qq+kk+vv', 'average': True, 'iterations': 1, 'layers': 6, 'parallel': True, 'ffn': False}
            | {**_SIZE, 'antialias': True},
            {'scale': 100.0, 'output': 'cosines', 'templates': 'photo'},
            **_LARGE,
        ),
        'cliptrase': Preset(
            'Shao et al., ECCV 2024: softmax(qq) + softmax(kk) + softmax(vv), residual and FFN kept',
            {'attention': 'qq+kk+vv', **_SIZE},
            _SOFTMAX_100,
            **_LARGE,
        ),
        'resclip': Preset(
            'Yang et al., CVPR 2025: NACLIP, with attention of middle blocks and of a first prediction mixed in',
            {'attention': 'kk', 'gaussian': 5.0, 'weights_from': (-7, -6, -5, -4), **_BARE, **_SCALE},
            _SUM_TO_ONE,
            type='ResCLIPSegmentor',
        ),
        'pearl': Preset(
            'Pei et al., CVPR 2026: keys turned towards queries, plus a little kk, and scores spread along edges',
            {'attention': 'aligned', **_BARE, **_SCALE},
            _PEARL,
        ),
        'scclip': Preset(
            'Bai et al., 2024: tokens that stick out mended, alike ones of middle blocks averaged, levels added up',
            _SC_CLIP,
            _COSINES_40,
        ),
        'sfp': Preset(
            'Jin et al., ICCV 2025: as SC-CLIP, but tokens are mended where the class token looks more than they do',
            {
                **_SC_CLIP,
                'attention': 'qq+kk+alike',
                'repair': {'sign': 'attention'},
                'middle': {'cut_first': True, 'summed_attention': 'alike'},
            },
            _COSINES_40,
        ),
        'proxyclip': Preset(
            'Lan et al., ECCV 2024: attention from the similarity of DINO patches',
            {'attention': 'external', **_BARE, **_SCALE},
            {**_COSINES_40, 'affinity': {'type': 'DINOAffinity'}},
            window=336,
            needs='weights of a self-supervised ViT (affinity.dino.pretrained, DINO ViT-B/8 in the paper)',
        ),
        'cass': Preset(
            'Kim et al., CVPR 2025: keys of each head completed by the strongest directions of DINO, head by head',
            {'attention': 'external', **_BARE, **_SCALE},
            {**_COSINES_40, 'affinity': {'type': 'SpectralAffinity'}, 'post': {'presence': {}}},
            needs='weights of a self-supervised ViT (affinity.dino.pretrained, DINO ViT-B/8 in the paper)',
        ),
        'corrclip': Preset(
            'Zhang et al., ICCV 2025: attention from the similarity of DINO patches within merged regions, with values '
            'of middle blocks and class tokens of regions beside it; each region takes one label',
            {'attention': 'external', 'branch': 'corrclip', 'region_weight': 0.5, **_BARE, **_SCALE},
            {
                **_COSINES_40,
                'affinity': {
                    'type': 'DINOAffinity',
                    'feature': 'query+key',
                    'beta': None,
                    'gamma': 4.0,
                    'scope': {},
                },
            },
            window=336,
            needs='weights of a self-supervised ViT (affinity.dino.pretrained, DINO ViT-B/8 in the paper) and regions '
            '(regions, of SAM 2, EntitySeg or EoMT in the paper)',
            regions=True,
        ),
        'glaclip': Preset(
            'Lee et al., CVPR 2026: ProxyCLIP, but the last block looks at the patches of all windows, by anchors',
            {'attention': 'external', **_BARE, **_SCALE},
            {**_COSINES_40, 'affinity': {'type': 'DINOAffinity'}, 'join': {}},
            needs='weights of a self-supervised ViT (affinity.dino.pretrained, DINO ViT-B/8 in the paper)',
        ),
        'trident': Preset(
            'Shi et al., ICCV 2025: ProxyCLIP, windows put together and averaged as Segment Anything sees the whole '
            'picture, which then refines the labels by prompts',
            {'attention': 'external', **_BARE, **_SCALE},
            {
                **_COSINES_40,
                'affinity': {'type': 'DINOAffinity', 'dino': {'model_name': 'vit_base_patch16_224'}},
                'sam': {'type': 'SAMAggregation', 'refine': {}},
            },
            side=448,
            window=336,
            stride=224,
            needs='weights of a self-supervised ViT (affinity.dino.pretrained, DINO ViT-B/16 in the paper) and of '
            'Segment Anything (sam, ViT-B in the paper)',
        ),
        'lposs': Preset(
            'Stojnic et al., CVPR 2025: MaskCLIP, scores of all windows spread over the patches of DINO',
            {'attention': 'value', **_SIZE},
            {
                **_COSINES_100,
                'affinity': {
                    'type': 'DINOAffinity',
                    'feature': 'value',
                    'dino': {'model_name': 'vit_base_patch16_224'},
                },
                'spread': {},
            },
            side=448,
            needs='weights of a self-supervised ViT (affinity.dino.pretrained, DINO ViT-B/16 in the paper)',
        ),
        'talk2dino': Preset(
            "Barsellotti et al., ICCV 2025: patches of DINO as trained, compared with CLIP's words in DINO's space",
            {'attention': 'qk', **_SIZE, 'antialias': True},
            {**_COSINES_40, 'templates': 'tcl'},
            **_LARGE,
        ),
        'dinotxt': Preset(
            'Jose et al., CVPR 2025: patches of DINO after two blocks that were trained with a text tower, as trained',
            {'attention': 'qk', **_SIZE, 'antialias': True},
            {'scale': 100.0, 'output': 'cosines', 'templates': 'openai_imagenet'},
            side=512,
            window=384,
            stride=192,
        ),
        'dinoiser': Preset(
            'Wysoczanska et al., ECCV 2024: MaskCLIP pooled along correlations that two convolutions read from CLIP',
            {'attention': 'value', **_SIZE},
            _SOFTMAX_100,
            needs="weights of its two convolutions (the authors' last.pt, or a training with configs/dinoiser)",
            type='CLIPDINOiser',
        ),
    }
)


def preset(name: str) -> Preset:
    """A preset by name.

    Raises:
        ValueError: If there is none; the nearest is suggested.
    """
    if name not in PRESETS:
        near = difflib.get_close_matches(str(name), PRESETS, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f'known: {", ".join(PRESETS)}.'
        raise ValueError(f"no preset is called '{name}'; {hint}")
    return PRESETS[name]
