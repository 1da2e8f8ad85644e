"""What the harness of each method does with each set, as its authors' configs have it.

``protocols.py`` says in which code that was read.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from denseclip.datasets.open_vocab.sets import SETS
from denseclip.datasets.open_vocab.setting import Setting

_OF_ALL = ('context60', 'cityscapes', 'context59', 'ade20k', 'coco_stuff')
"""Sets that the whole family prompts for with the same names."""


def dinoiser() -> dict[str, Setting]:
    """Windows of 448; the learned background where a set has one, words for stuff."""
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


def sclip() -> dict[str, Setting]:
    """SCLIP's windows, thresholds and scales of the scores."""
    special: dict[str, dict[str, Any]] = {
        'voc21': dict(logit_scale=65.0, area_threshold=0.1),
        'context60': dict(logit_scale=50.0),
        'coco_object': dict(logit_scale=50.0),
        'cityscapes': dict(scale=(2048, 560)),
        'coco_stuff': dict(scale=(2048, 448)),
    }
    plain = Setting('', (2048, 336), (224, 224), (112, 112), logit_scale=40.0)
    return _family(plain, {}, thresholds=dict(voc21=0.1, context60=0.1, coco_object=0.1), special=special)


def spar() -> dict[str, Setting]:
    """Whole pictures with SCLIP's names and thresholds."""
    whole: dict[str, Any] = dict(scale=(2048, 672), crop=None, stride=None)
    special: dict[str, dict[str, Any]] = {'cityscapes': dict(scale=(2048, 1024))}
    return {
        name: replace(setting, **{**whole, **special.get(name, {})})
        for name, setting in sclip().items()
        if name not in ('coco_object', 'coco_stuff')
    }


def clearclip() -> dict[str, Setting]:
    """Windows of 448, of 224 on Cityscapes."""
    names = dict.fromkeys(('voc21', 'voc20', 'coco_object'), 'clearclip')
    return _family(
        Setting('', (2048, 448), (448, 448), (224, 224), logit_scale=50.0),
        names,
        thresholds=dict(voc21=0.5, context60=0.15, coco_object=0.4),
        special={'cityscapes': dict(crop=(224, 224))},
    )


def naclip() -> dict[str, Setting]:
    """SCLIP's windows, VOC as whole pictures."""
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


def resclip() -> dict[str, Setting]:
    """NACLIP's settings; weights of the mixture, and when a first prediction counts, of each set."""
    tuned = {
        'voc21': ((2.0, 0.3), (2.2, 0.7), 0.5),
        'context60': ((2.0, 0.3), (1.8, 0.7), 0.3),
        'coco_object': ((2.0, 0.4), (1.8, 0.7), 0.11),
        'voc20': ((2.0, 0.6), (2.1, 0.6), 0.1),
        'cityscapes': ((2.0, 0.2), (2.1, 0.6), 0.1),
        'context59': ((2.0, 0.4), (1.8, 0.7), 0.25),
        'ade20k': ((2.0, 0.3), (2.1, 0.7), 0.25),
        'coco_stuff': ((2.0, 0.4), (1.8, 0.7), 0.11),
    }
    found = naclip()
    for name, (cross, feedback, least) in tuned.items():
        own = dict(model=dict(cross=cross, feedback=feedback, least_score=least))
        found[name] = replace(found[name], tuned=own)
    return found


def proxyclip() -> dict[str, Setting]:
    """Windows of 336, of 224 on Cityscapes."""
    return _family(
        Setting('', (2048, 336), (336, 336), (112, 112)),
        {'voc21': 'proxyclip', 'voc20': 'clearclip', 'coco_object': 'proxyclip'},
        thresholds=dict(voc21=0.2, context60=0.15, coco_object=0.25),
        special={'cityscapes': dict(scale=(2048, 448), crop=(224, 224)), 'ade20k': dict(scale=(2048, 448))},
    )


def corrclip() -> dict[str, Setting]:
    """ProxyCLIP's settings with other names."""
    return {name: replace(setting, vocabulary=f'{name}_corrclip') for name, setting in proxyclip().items()}


def trident() -> dict[str, Setting]:
    """Windows that are put together, and how SAM refines the labels of each set."""
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


def pearl() -> dict[str, Setting]:
    """NACLIP's settings; alignment and grid of two sets."""
    strong: dict[str, dict[str, Any]] = dict(read_out=dict(align_kk=0.3))
    fine = strong | dict(post=dict(propagation=dict(grid=224)))
    found = naclip()
    for name, tuned in (('cityscapes', fine), ('ade20k', strong)):
        found[name] = replace(found[name], tuned=tuned)
    return found


def glaclip() -> dict[str, Setting]:
    """SCLIP's windows for all sets."""
    return _family(
        Setting('', (2048, 336), (224, 224), (112, 112)),
        {},
        thresholds=dict(voc21=0.1, context60=0.1, coco_object=0.1),
        special={'cityscapes': dict(scale=(2048, 560))},
    )


def cass() -> dict[str, Setting]:
    """Windows of 224, and how much the presence of objects counts on each set."""
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


def scclip() -> dict[str, Setting]:
    """Windows of 224; scales and thresholds of the sets with background."""
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


def sfp() -> dict[str, Setting]:
    """SC-CLIP's settings with other names; ADE20K at short side 384."""
    found = scclip()
    for name in ('voc21', 'voc20', 'cityscapes'):
        found[name] = replace(found[name], vocabulary=f'{name}_sfp')
    return {**found, 'ade20k': replace(found['ade20k'], scale=(2048, 384))}


def lposs() -> dict[str, Setting]:
    """Windows of 224 at short side 448, background as words."""
    plain = Setting('', (2048, 448), (224, 224), (112, 112))
    found = {}
    for name, entry in SETS.items():
        words = f'{name}_lposs' if name in ('voc21', 'coco_object') else name
        found[name] = replace(plain, vocabulary=words, background='prompt' if entry.has_background else 'none')
    return found


def talk2dino() -> dict[str, Setting]:
    """Windows of 448, sets without background."""
    plain = Setting('', (2048, 448), (448, 448), (224, 224))
    names = {'voc20': 'voc20_ovseg', 'context59': 'context59_ovseg'}  # "pottedplant" and the like, as mmseg has them
    sets = (name for name, entry in SETS.items() if not entry.has_background)
    return {name: replace(plain, vocabulary=names.get(name, name)) for name in sets}


def dinotxt() -> dict[str, Setting]:
    """Windows of 384 at short side 512, sets without background."""
    plain = Setting('', (2048, 512), (384, 384), (192, 192))
    return {name: replace(plain, vocabulary=name) for name, entry in SETS.items() if not entry.has_background}


def maskclip_orig() -> dict[str, Setting]:
    """Whole pictures in sizes of their own."""
    sizes = {
        'voc20': (2048, 512),
        'cityscapes': (2048, 1024),
        'context59': (520, 520),
        'coco_stuff': (2048, 512),
    }
    lists = {'voc20': 'voc20_maskclip'}
    return {name: Setting(lists.get(name, name), size) for name, size in sizes.items()}
