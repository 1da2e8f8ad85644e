"""How published numbers were taken: resizing, windows, class names and the rule for background, per set.

Two numbers can be compared only if protocol, weights and set agree; ``docs/protocols.md`` has the tables.
"""

import difflib
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from denseclip.datasets.open_vocab.evaluation_protocol import EvaluationProtocol
from denseclip.datasets.open_vocab.sets import DOMAIN_SETS, LARGE_SETS, MESS_SETS, MINIWORLD, SETS
from denseclip.datasets.open_vocab.setting import Setting

_LAION, _OPENAI = ('ViT-B-16', 'laion2b_s34b_b88k'), ('ViT-B-16', 'openai')
_METACLIP = ('ViT-B-16-quickgelu', 'metaclip_fullcc')
_TALK2DINO = ('local-dir:clips/talk2dino', None)
_DINOTXT = ('local-dir:clips/dinotxt', None)
_IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
_FROM_ABOVE = ('mess_floodnet', 'mess_uavid')
_OF_ALL = ('context60', 'cityscapes', 'context59', 'ade20k', 'coco_stuff')
"""Sets that the whole family prompts for with the same names."""


def _dinoiser() -> dict[str, Setting]:
    plain = Setting('', (2048, 448), (448, 448), (224, 224))
    background = {'voc21': 'learned', 'coco_object': 'learned', 'context60': 'prompt'}
    return {name: replace(plain, vocabulary=name, background=background.get(name, 'none')) for name in SETS}


def _family(
    plain: Setting,
    names: Mapping[str, str],
    *,
    thresholds: Mapping[str, float],
    special: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Setting]:
    """The harness that SCLIP began.

    Args:
        plain: What is done with a set where nothing else is said.
        names: Whose names a set is prompted with, by set; ``sclip`` where none is given.
        thresholds: Least probability of a class by set.
        special: Other fields of :class:`Setting` by set.
    """
    found = {}
    for name, entry in SETS.items():
        threshold = thresholds.get(name)
        fallback = 'prompt' if entry.has_background else 'none'
        fields: dict[str, Any] = dict(
            vocabulary=f'{name}_{"sclip" if name in _OF_ALL else names.get(name, "sclip")}',
            background=fallback if threshold is None else 'threshold',
            prob_threshold=threshold,
        )
        found[name] = replace(plain, **{**fields, **(special or {}).get(name, {})})
    return found


def _sclip() -> dict[str, Setting]:
    special: dict[str, dict[str, Any]] = {
        'voc21': dict(logit_scale=65.0, area_threshold=0.1),
        'context60': dict(logit_scale=50.0),
        'coco_object': dict(logit_scale=50.0),
        'cityscapes': dict(scale=(2048, 560)),
        'coco_stuff': dict(scale=(2048, 448)),
    }
    plain = Setting('', (2048, 336), (224, 224), (112, 112), logit_scale=40.0)
    return _family(plain, {}, thresholds=dict(voc21=0.1, context60=0.1, coco_object=0.1), special=special)


def _spar() -> dict[str, Setting]:
    whole: dict[str, Any] = dict(scale=(2048, 672), crop=None, stride=None)
    special: dict[str, dict[str, Any]] = {'cityscapes': dict(scale=(2048, 1024))}
    return {
        name: replace(setting, **{**whole, **special.get(name, {})})
        for name, setting in _sclip().items()
        if name not in ('coco_object', 'coco_stuff')
    }


def _clearclip() -> dict[str, Setting]:
    names = dict.fromkeys(('voc21', 'voc20', 'coco_object'), 'clearclip')
    return _family(
        Setting('', (2048, 448), (448, 448), (224, 224), logit_scale=50.0),
        names,
        thresholds=dict(voc21=0.5, context60=0.15, coco_object=0.4),
        special={'cityscapes': dict(crop=(224, 224))},
    )


def _naclip() -> dict[str, Setting]:
    return _family(
        Setting('', (2048, 336), (224, 224), (112, 112)),
        {},
        thresholds=dict(voc21=0.1, context60=0.1, coco_object=0.1),
        special={
            'voc21': dict(crop=None, stride=None),
            'voc20': dict(crop=None, stride=None),
            'cityscapes': dict(scale=(2048, 560)),
        },
    )


def _proxyclip() -> dict[str, Setting]:
    return _family(
        Setting('', (2048, 336), (336, 336), (112, 112)),
        {'voc21': 'proxyclip', 'voc20': 'clearclip', 'coco_object': 'proxyclip'},
        thresholds=dict(voc21=0.2, context60=0.15, coco_object=0.25),
        special={'cityscapes': dict(scale=(2048, 448), crop=(224, 224)), 'ade20k': dict(scale=(2048, 448))},
    )


def _corrclip() -> dict[str, Setting]:
    return {name: replace(setting, vocabulary=f'{name}_corrclip') for name, setting in _proxyclip().items()}


def _trident() -> dict[str, Setting]:
    least = {
        'voc21': 0.2,
        'context60': 0.15,
        'coco_object': 0.25,
        'voc20': 0.2,
        'cityscapes': 0.1,
        'context59': 0.15,
        'ade20k': 0.05,
        'coco_stuff': 0.05,
    }
    like: dict[str, dict[str, Any]] = {
        'voc20': dict(factor=0.0),
        'cityscapes': dict(factor=3.0, instead=0.6),
        'ade20k': dict(instead=0.6),
    }
    sides = {'context60': 576, 'context59': 576, 'ade20k': 576, 'voc20': 336, 'cityscapes': 688}
    special: dict[str, dict[str, Any]] = {}
    for name, score in least.items():
        pieces = {'columns': 2} if name == 'cityscapes' else {}
        own = dict(refine=dict(least_score=score), like=like.get(name, {}), **pieces)
        special[name] = dict(tuned=dict(sam=own), scale=(2048, sides.get(name, 448)))
    special['voc20'] |= dict(stride=(112, 112))
    return _family(
        Setting('', (2048, 448), (336, 336), (224, 224)),
        {'voc21': 'proxyclip', 'voc20': 'clearclip', 'coco_object': 'proxyclip'},
        thresholds=dict(voc21=0.2, context60=0.15, coco_object=0.25),
        special=special,
    )


def _pearl() -> dict[str, Setting]:
    strong = dict(read_out=dict(align_kk=0.3))
    fine = dict(**strong, post=dict(propagation=dict(grid=224)))
    return _family(
        Setting('', (2048, 336), (224, 224), (112, 112)),
        {},
        thresholds=dict(voc21=0.1, context60=0.1, coco_object=0.1),
        special={
            'voc21': dict(crop=None, stride=None),
            'voc20': dict(crop=None, stride=None),
            'cityscapes': dict(scale=(2048, 560), tuned=fine),
            'ade20k': dict(tuned=strong),
        },
    )


def _glaclip() -> dict[str, Setting]:
    return _family(
        Setting('', (2048, 336), (224, 224), (112, 112)),
        {},
        thresholds=dict(voc21=0.1, context60=0.1, coco_object=0.1),
        special={'cityscapes': dict(scale=(2048, 560))},
    )


def _cass() -> dict[str, Setting]:
    presence = {
        'voc21': (0.1, 0.03, 0.1),
        'context60': (0.25, 0.04, 0.09),
        'coco_object': (0.25, 0.01, 0.1),
        'voc20': (0.4, 0.02, 0.1),
        'cityscapes': (0.1, 0.03, 0.14),
        'context59': (0.25, 0.04, 0.09),
        'ade20k': (0.3, 0.05, 0.06),
        'coco_stuff': (0.2, 0.02, 0.02),
    }
    special: dict[str, dict[str, Any]] = {}
    for name, (weight, move, group) in presence.items():
        own = dict(weight=weight, move=move, group=group, **({'of': 'window'} if name == 'cityscapes' else {}))
        plain = {'affinity': dict(stretch=False)} if name in ('voc20', 'cityscapes') else {}
        special[name] = dict(tuned=dict(post=dict(presence=own), **plain))
    special['voc21'] |= dict(crop=None, stride=None)
    special['cityscapes'] |= dict(scale=(2048, 560))
    plain_setting = Setting('', (2048, 336), (224, 224), (112, 112))
    return _family(plain_setting, {}, thresholds=dict(voc21=0.1, context60=0.1, coco_object=0.1), special=special)


def _scclip() -> dict[str, Setting]:
    return _family(
        Setting('', (2048, 336), (224, 224), (112, 112), logit_scale=40.0),
        {},
        thresholds=dict(voc21=0.15, context60=0.15, coco_object=0.35),
        special={
            'voc21': dict(logit_scale=50.0, area_threshold=0.1),
            'coco_object': dict(logit_scale=55.0),
            'cityscapes': dict(scale=(2048, 560)),
        },
    )


def _sfp() -> dict[str, Setting]:
    found = _scclip()
    for name in ('voc21', 'voc20', 'cityscapes'):
        found[name] = replace(found[name], vocabulary=f'{name}_sfp')
    return {**found, 'ade20k': replace(found['ade20k'], scale=(2048, 384))}


def _lposs() -> dict[str, Setting]:
    plain = Setting('', (2048, 448), (224, 224), (112, 112))
    found = {}
    for name, entry in SETS.items():
        words = f'{name}_lposs' if name in ('voc21', 'coco_object') else name
        found[name] = replace(plain, vocabulary=words, background='prompt' if entry.has_background else 'none')
    return found


def _talk2dino() -> dict[str, Setting]:
    plain = Setting('', (2048, 448), (448, 448), (224, 224))
    names = {'voc20': 'voc20_ovseg', 'context59': 'context59_ovseg'}  # "pottedplant" and the like, as mmseg has them
    sets = (name for name, entry in SETS.items() if not entry.has_background)
    return {name: replace(plain, vocabulary=names.get(name, name)) for name in sets}


def _dinotxt() -> dict[str, Setting]:
    plain = Setting('', (2048, 512), (384, 384), (192, 192))
    return {name: replace(plain, vocabulary=name) for name, entry in SETS.items() if not entry.has_background}


def _maskclip_orig() -> dict[str, Setting]:
    sizes = {
        'voc20': (2048, 512),
        'cityscapes': (2048, 1024),
        'context59': (520, 520),
        'coco_stuff': (2048, 512),
    }
    lists = {'voc20': 'voc20_maskclip'}
    return {name: Setting(lists.get(name, name), size) for name, size in sizes.items()}


PROTOCOLS: Mapping[str, EvaluationProtocol] = MappingProxyType(
    {
        p.name: p
        for p in (
            EvaluationProtocol(
                'dinoiser',
                'CLIP-DINOiser (Wysoczanska et al., ECCV 2024), code at a954aae: windows of 448 at short side 448',
                _LAION,
                _dinoiser(),
                notes=(
                    'VOC21 and COCO-Object apply the learned rule for background if the model has one; without one '
                    '"background" is a prompt like any other',
                ),
            ),
            EvaluationProtocol(
                'sclip',
                'SCLIP (Wang et al., ECCV 2024), wangf3014/SCLIP at b56bd30, configs/: windows of 224, most at short '
                'side 336, background as words for stuff',
                _OPENAI,
                _sclip(),
            ),
            EvaluationProtocol(
                'clearclip',
                'ClearCLIP (Lan et al., ECCV 2024), mc-lan/ClearCLIP at ad68a40, configs/ and clearclip_segmentor.py: '
                'short side 448, "background" as a prompt',
                _OPENAI,
                _clearclip(),
            ),
            EvaluationProtocol(
                'naclip',
                'NACLIP (Hajimiri et al., WACV 2025), sinahmr/NACLIP at 0cac3a6, configs/, without PAMR: as SCLIP, VOC '
                'as whole pictures',
                _OPENAI,
                _naclip(),
                notes=('its table without PAMR; the code has PAMR on unless told otherwise',),
            ),
            EvaluationProtocol(
                'naclip_pamr',
                'NACLIP as its code runs by default, configs/ and naclip.py at 0cac3a6: with PAMR, 10 iterations, '
                'dilations 8 and 16, at the size of the original picture',
                _OPENAI,
                _naclip(),
                pamr=MappingProxyType(dict(iterations=10, dilations=(8, 16))),
            ),
            EvaluationProtocol(
                'proxyclip',
                'ProxyCLIP (Lan et al., ECCV 2024), mc-lan/ProxyCLIP at e7b767f, configs/ and proxyclip_segmentor.py: '
                'windows of 336',
                _OPENAI,
                _proxyclip(),
            ),
            EvaluationProtocol(
                'corrclip',
                'CorrCLIP (Zhang et al., ICCV 2025), zdk258/CorrCLIP at 103bc18, CorrCLIPv1/configs/ and '
                'corrclip_segmentor.py: as ProxyCLIP, "people" for a person',
                _METACLIP,
                _corrclip(),
                notes=('regions and their provider are no part of it: name them beside each number',),
            ),
            EvaluationProtocol(
                'trident',
                'Trident (Shi et al., ICCV 2025), YuHengsss/Trident at a93b346, configs/: windows of 336 put together '
                'at short side 336 to 688; thresholds and likeness tuned per set',
                _OPENAI,
                _trident(),
                notes=('SAM, whose training saw masks, looks at the whole picture and refines the labels',),
            ),
            EvaluationProtocol(
                'pearl',
                'PEARL (Pei et al., CVPR 2026), PGSmall/PEARL at c26062b, configs/ and pearl_ovss.py: as NACLIP; '
                'weight of kk and grid of the propagation tuned for Cityscapes and ADE20K',
                _OPENAI,
                _pearl(),
            ),
            EvaluationProtocol(
                'scclip',
                'SC-CLIP (Bai et al., 2024), SuleBai/SC-CLIP at 0417ba9, configs/: windows of 224 at short '
                'side 336; scale and thresholds tuned for the sets with background',
                _OPENAI,
                _scclip(),
            ),
            EvaluationProtocol(
                'sfp',
                'SFP (Jin et al., ICCV 2025), Kimsure/SFP at 2804f5b, SFP_ICCV/configs/: as SC-CLIP, ADE20K at short '
                'side 384, and "people" for "person"',
                _OPENAI,
                _sfp(),
            ),
            EvaluationProtocol(
                'cass',
                'CASS (Kim et al., CVPR 2025), MICV-yonsei/CASS at 228ecdd, configs/ and eval_all.sh: as NACLIP '
                'without PAMR, VOC20 in windows; object presence tuned for every set',
                _OPENAI,
                _cass(),
            ),
            EvaluationProtocol(
                'glaclip',
                'GLA-CLIP (Lee et al., CVPR 2026), 2btlFe/GLA-CLIP at ba74915, configs/: windows of 224, Cityscapes '
                'at short side 560, others at 336',
                _OPENAI,
                _glaclip(),
            ),
            EvaluationProtocol(
                'lposs',
                'LPOSS (Stojnic et al., CVPR 2025), vladan-stojnic/LPOSS at e489a74, segmentation/configs/: windows of '
                '224 at short side 448, background as words',
                _LAION,
                _lposs(),
            ),
            EvaluationProtocol(
                'talk2dino',
                'Talk2DINO (Barsellotti et al., ICCV 2025), lorebianchi98/Talk2DINO at 4918c2d, '
                'src/open_vocabulary_segmentation/: windows of 448 at short side 448, without PAMR',
                _TALK2DINO,
                _talk2dino(),
                templates='tcl',
                notes=(
                    'sets with background need the attention of single heads there, which is not built, and PAMR runs '
                    'window by window: neither is part of this protocol',
                ),
            ),
            EvaluationProtocol(
                'dinotxt',
                'dino.txt (Jose et al., CVPR 2025), the notebook of its authors: windows of 384 at short side 512',
                _DINOTXT,
                _dinotxt(),
                notes=(
                    'windows average cosines, there their softmax; names of classes are those of the sets, since the '
                    'notebook shows single pictures',
                ),
            ),
            EvaluationProtocol(
                'spar',
                'SPAR (Kombol et al., CVPR 2026), naomikombol/SPAR at 0f63ff2, configs/maskclip: whole pictures at '
                'short side 672, Cityscapes at 1024, names and thresholds of SCLIP',
                _LAION,
                _spar(),
                clip=MappingProxyType(dict(read_out=dict(pos_resize='bicubic+0.1', antialias=False))),
                notes=("positions are resized as the authors do and as the student's training does, by every preset",),
            ),
            EvaluationProtocol(
                'maskclip_orig',
                "MaskCLIP (Zhou et al., ECCV 2022), the paper's code at 245d31f: whole pictures",
                _OPENAI,
                _maskclip_orig(),
                templates='maskclip',
                clip=MappingProxyType(dict(norm_eps=1e-6, quick_gelu=False)),
                normalisation=_IMAGENET,
                notes=(
                    'its code runs LayerNorm with eps 1e-6, erf-GELU and ImageNet normalisation on weights that were '
                    'trained otherwise, and so does this protocol',
                ),
            ),
            EvaluationProtocol(
                'domains',
                'this suite: sets of other domains, pictures of short side 1024 in windows of 448',
                _LAION,
                {
                    name: Setting(
                        name,
                        (2048, 1024),
                        (448, 448),
                        (224, 224),
                        background='prompt' if entry.has_background else 'none',
                    )
                    for name, entry in DOMAIN_SETS.items()
                },
                notes=('no published number was taken like this: compare rows of one table only',),
            ),
            EvaluationProtocol(
                'large',
                'this suite: sets of hundreds of classes, as `dinoiser` does those of tens',
                _LAION,
                {name: Setting(name, (2048, 448), (448, 448), (224, 224)) for name in LARGE_SETS},
                notes=(
                    'models that were trained on masks report these sets at short side 640 to 896: compare rows of one '
                    'table only',
                ),
            ),
            EvaluationProtocol(
                'mess',
                'this suite: sets of the MESS benchmark in its words, at short side 448, tiles from above at 1024',
                _LAION,
                {
                    name: Setting(
                        name,
                        (2048, 1024 if name in _FROM_ABOVE else 448),
                        (448, 448),
                        (224, 224),
                        background='prompt' if entry.has_background else 'none',
                    )
                    for name, entry in MESS_SETS.items()
                },
                notes=('the benchmark leaves sizes to each model: compare rows of one table only',),
            ),
            EvaluationProtocol(
                'miniworld',
                'this suite: whole pictures of 128, one sentence per name, the small CLIP trained on miniworld',
                ('local-dir:checkpoints/miniworld_clip', None),
                {MINIWORLD.name: Setting('miniworld', (2048, 128))},
                templates='photo',
                notes=('shows the order of methods on a machine without data; stands for no real result',),
            ),
        )
    }
)
"""The protocols by name."""

_DEFAULTS = {
    'clip': 'dinoiser',
    'maskclip': 'dinoiser',
    'dinoiser': 'dinoiser',
    'maskclip_orig': 'maskclip_orig',
    'sclip': 'sclip',
    'clearclip': 'clearclip',
    'naclip': 'naclip',
    'resclip': 'naclip',
    'proxyclip': 'proxyclip',
    'corrclip': 'corrclip',
    'trident': 'trident',
    'pearl': 'pearl',
    'lposs': 'lposs',
    'scclip': 'scclip',
    'glaclip': 'glaclip',
    'cass': 'cass',
    'sfp': 'sfp',
    'talk2dino': 'talk2dino',
    'dinotxt': 'dinotxt',
}


def protocol(name: str) -> EvaluationProtocol:
    """Find a protocol by name.

    Raises:
        KeyError: If there is none; the nearest is suggested.
    """
    if name not in PROTOCOLS:
        near = difflib.get_close_matches(name, PROTOCOLS, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f'known: {", ".join(PROTOCOLS)}'
        raise KeyError(f"no protocol is called '{name}'; {hint}")
    return PROTOCOLS[name]


def default_protocol(preset: str, set_name: str | None = None) -> EvaluationProtocol:
    """The protocol that a method's own paper used, as far as it is defined here; else ``dinoiser``.

    Args:
        preset: The method.
        set_name: The set; miniworld, large sets and sets of other domains have protocols of their own.
    """
    if set_name == MINIWORLD.name:
        return PROTOCOLS['miniworld']
    for sets, name in ((DOMAIN_SETS, 'domains'), (LARGE_SETS, 'large'), (MESS_SETS, 'mess')):
        if set_name in sets:
            return PROTOCOLS[name]
    return PROTOCOLS[_DEFAULTS.get(preset, 'dinoiser')]
