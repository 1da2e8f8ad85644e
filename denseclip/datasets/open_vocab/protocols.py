"""How published numbers were taken: resizing, windows, class names and the rule for background, per set.

Two numbers can be compared only if protocol, weights and set agree; ``docs/protocols.md`` has the tables.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from denseclip.datasets.open_vocab.sets import DOMAIN_SETS, MINIWORLD, SETS
from denseclip.recipes import eval_steps

BACKGROUNDS = ('none', 'prompt', 'learned', 'threshold')


@dataclass(frozen=True)
class Setting:
    """What a protocol does with one set.

    Attributes:
        vocabulary: Class list of the suite; label ids are positions in it.
        scale: Longest and shortest side that a picture must fit into after resizing; its shape is kept.
        crop: Height and width of a window; None runs the whole picture.
        stride: Vertical and horizontal step of the windows.
        background: ``'none'``: the set has no background class. ``'prompt'``: label 0 is a class like all others, with
            its own words. ``'learned'``: the same, and a model that has learned what is background (CLIP-DINOiser) also
            applies its rule. ``'threshold'``: label 0 has words and also takes pixels whose best class is less
            probable than ``prob_threshold``.
        prob_threshold: Probability, 0..1.
        area_threshold: Share of the labelled pixels, 0..1, that a class must exceed to be kept.
        logit_scale: Factor of the cosines before the softmax; None leaves the method's own.
    """

    vocabulary: str
    scale: tuple[int, int]
    crop: tuple[int, int] | None = None
    stride: tuple[int, int] | None = None
    background: str = 'none'
    prob_threshold: float | None = None
    area_threshold: float | None = None
    logit_scale: float | None = None

    def __post_init__(self) -> None:
        if self.background not in BACKGROUNDS:
            raise ValueError(f"background '{self.background}' is unknown; choose from {', '.join(BACKGROUNDS)}")
        if (self.background == 'threshold') != (self.prob_threshold is not None):
            raise ValueError("prob_threshold and background='threshold' need each other")
        if (self.crop is None) != (self.stride is None):
            raise ValueError('crop and stride need each other')

    def pipeline(self) -> list[dict[str, Any]]:
        """Test pipeline; labels are read after resizing, so that the score is taken in the original size."""
        return eval_steps(dict(type='Resize', scale=self.scale, keep_ratio=True), num_classes=None)

    def test_cfg(self) -> dict[str, Any]:
        """The model's ``test_cfg``."""
        if self.crop is None:
            return dict(mode='whole')
        return dict(mode='slide', crop_size=self.crop, stride=self.stride)

    def post(self) -> dict[str, Any]:
        """Settings of the model's ``post`` for the background."""
        if self.background != 'threshold':
            return {}
        area = {} if self.area_threshold is None else dict(area_threshold=self.area_threshold)
        return dict(background=0, prob_threshold=self.prob_threshold, **area)


@dataclass(frozen=True)
class EvaluationProtocol:
    """One way to take the numbers.

    Attributes:
        name: Its name in options.
        source: Where it is documented.
        weights: CLIP model and pretrained tag of its published numbers; no tag where the model is a folder.
        settings: By name of the set; sets that it was not published for are missing.
        templates: Sentences for class names.
        pamr: Settings of PAMR on the scores, where the protocol has it.
        clip: Settings of the model's ``clip`` that it was run with, where they are not those of the weights.
        normalisation: Mean and standard deviation of RGB in 0..255; None is what the weights were trained with.
        notes: What to know before comparing.
    """

    name: str
    source: str
    weights: tuple[str, str | None]
    settings: Mapping[str, Setting]
    templates: str = 'openai_imagenet'
    pamr: Mapping[str, Any] | None = None
    clip: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    normalisation: tuple[tuple[float, float, float], tuple[float, float, float]] | None = None
    notes: tuple[str, ...] = field(default=())

    def setting(self, set_name: str) -> Setting:
        """What it does with a set.

        Raises:
            KeyError: If it was not published for the set.
        """
        if set_name not in self.settings:
            raise KeyError(
                f"protocol '{self.name}' is not defined for '{set_name}', only for {', '.join(self.settings)}"
            )
        return self.settings[set_name]


_LAION, _OPENAI = ('ViT-B-16', 'laion2b_s34b_b88k'), ('ViT-B-16', 'openai')
_IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
_STUFF_WORDS = {'voc21': 'voc21_stuff', 'coco_object': 'coco_object_stuff'}


def _dinoiser() -> dict[str, Setting]:
    plain = Setting('', (2048, 448), (448, 448), (224, 224))
    background = {'voc21': 'learned', 'coco_object': 'learned', 'context60': 'prompt'}
    return {name: replace(plain, vocabulary=name, background=background.get(name, 'none')) for name in SETS}


def _family(
    *,
    crop: int,
    stride: int,
    short: int,
    scale: float | Mapping[str, float] | None = None,
    thresholds: Mapping[str, float] | None = None,
    area: Mapping[str, float] | None = None,
    words: bool = True,
) -> dict[str, Setting]:
    """The harness that SCLIP began: short side ``short`` but Cityscapes 560 and COCO-Stuff 448."""
    found = {}
    for name, entry in SETS.items():
        side = {'cityscapes': 560, 'coco_stuff': 448}.get(name, short)
        threshold = (thresholds or {}).get(name)
        fallback = 'prompt' if entry.has_background else 'none'
        found[name] = Setting(
            vocabulary=_STUFF_WORDS.get(name, name) if words else name,
            scale=(2048, max(side, crop)),
            crop=(crop, crop),
            stride=(stride, stride),
            background=fallback if threshold is None else 'threshold',
            prob_threshold=threshold,
            area_threshold=(area or {}).get(name),
            logit_scale=scale.get(name, 40.0) if isinstance(scale, Mapping) else scale,
        )
    return found


def _naclip() -> dict[str, Setting]:
    found = _family(crop=224, stride=112, short=336)
    return {
        name: replace(setting, crop=None, stride=None) if name in ('voc20', 'voc21') else setting
        for name, setting in found.items()
    }


def _maskclip_orig() -> dict[str, Setting]:
    sizes = {
        'voc20': (2048, 512),
        'cityscapes': (2048, 1024),
        'context59': (520, 520),
        'coco_stuff': (2048, 512),
    }
    lists = {'voc20': 'voc20_maskclip'}
    return {name: Setting(lists.get(name, name), size) for name, size in sizes.items()}


_MINOR_WORDS = 'the published lists of names differ a little from ours where the specification does not give them'

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
                'SCLIP (Wang et al., ECCV 2024): windows of 224 at short side 336, background as words for stuff',
                _OPENAI,
                _family(
                    crop=224,
                    stride=112,
                    short=336,
                    scale={'voc21': 65.0, 'context60': 50.0, 'coco_object': 50.0},
                    thresholds={'voc21': 0.1, 'context60': 0.1, 'coco_object': 0.1},
                    area={'voc21': 0.1},
                ),
                notes=(_MINOR_WORDS,),
            ),
            EvaluationProtocol(
                'clearclip',
                'ClearCLIP (Lan et al., ECCV 2024): windows of 448, "background" as a prompt',
                _OPENAI,
                _family(
                    crop=448,
                    stride=224,
                    short=336,
                    scale=50.0,
                    thresholds={'voc21': 0.5, 'context60': 0.15, 'coco_object': 0.4},
                    words=False,
                ),
                notes=(
                    'the short side is not documented beside the window of 448; it is taken to be at least the window',
                    _MINOR_WORDS,
                ),
            ),
            EvaluationProtocol(
                'naclip',
                'NACLIP (Hajimiri et al., WACV 2025): as SCLIP, VOC as whole pictures',
                _OPENAI,
                _naclip(),
                notes=('its thresholds are not documented and not applied', _MINOR_WORDS),
            ),
            EvaluationProtocol(
                'naclip_pamr',
                'NACLIP with PAMR: 10 iterations, dilations 8 and 16',
                _OPENAI,
                _naclip(),
                pamr=MappingProxyType(dict(iterations=10, dilations=(8, 16))),
                notes=('its thresholds are not documented and not applied', _MINOR_WORDS),
            ),
            EvaluationProtocol(
                'proxyclip',
                'ProxyCLIP (Lan et al., ECCV 2024): windows of 336',
                _OPENAI,
                _family(
                    crop=336,
                    stride=112,
                    short=336,
                    thresholds={'voc21': 0.2, 'context60': 0.15, 'coco_object': 0.25},
                ),
                notes=(_MINOR_WORDS,),
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
        set_name: The set; miniworld and sets of other domains have protocols of their own.
    """
    if set_name == MINIWORLD.name:
        return PROTOCOLS['miniworld']
    if set_name in DOMAIN_SETS:
        return PROTOCOLS['domains']
    return PROTOCOLS[_DEFAULTS.get(preset, 'dinoiser')]
