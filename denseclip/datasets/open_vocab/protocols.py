"""How published numbers were taken: resizing, windows, class names and the rule for background, per set.

Two numbers can be compared only if protocol, weights and set agree; ``docs/protocols.md`` has the tables.
"""

import difflib
from collections.abc import Mapping
from types import MappingProxyType

from denseclip.datasets.open_vocab import harnesses
from denseclip.datasets.open_vocab.evaluation_protocol import EvaluationProtocol
from denseclip.datasets.open_vocab.sets import DOMAIN_SETS, LARGE_SETS, MESS_SETS, MINIWORLD
from denseclip.datasets.open_vocab.setting import Setting

_LAION, _OPENAI = ('ViT-B-16', 'laion2b_s34b_b88k'), ('ViT-B-16', 'openai')
_METACLIP = ('ViT-B-16-quickgelu', 'metaclip_fullcc')
_TALK2DINO = ('local-dir:clips/talk2dino', None)
_DINOTXT = ('local-dir:clips/dinotxt', None)
_IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
_FROM_ABOVE = ('mess_floodnet', 'mess_uavid')

PROTOCOLS: Mapping[str, EvaluationProtocol] = MappingProxyType(
    {
        p.name: p
        for p in (
            EvaluationProtocol(
                'dinoiser',
                'CLIP-DINOiser (Wysoczanska et al., ECCV 2024), code at a954aae: windows of 448 at short side 448',
                _LAION,
                harnesses.dinoiser(),
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
                harnesses.sclip(),
            ),
            EvaluationProtocol(
                'clearclip',
                'ClearCLIP (Lan et al., ECCV 2024), mc-lan/ClearCLIP at ad68a40, configs/ and clearclip_segmentor.py: '
                'short side 448, "background" as a prompt',
                _OPENAI,
                harnesses.clearclip(),
            ),
            EvaluationProtocol(
                'naclip',
                'NACLIP (Hajimiri et al., WACV 2025), sinahmr/NACLIP at 0cac3a6, configs/, without PAMR: as SCLIP, VOC '
                'as whole pictures',
                _OPENAI,
                harnesses.naclip(),
                notes=('its table without PAMR; the code has PAMR on unless told otherwise',),
            ),
            EvaluationProtocol(
                'resclip',
                'ResCLIP (Yang et al., CVPR 2025), yvhangyang/ResCLIP at 0e085f7, configs/: as NACLIP; weights of the '
                'mixture and the least probability of the first prediction tuned for every set',
                _OPENAI,
                harnesses.resclip(),
            ),
            EvaluationProtocol(
                'naclip_pamr',
                'NACLIP as its code runs by default, configs/ and naclip.py at 0cac3a6: with PAMR, 10 iterations, '
                'dilations 8 and 16, at the size of the original picture',
                _OPENAI,
                harnesses.naclip(),
                pamr=MappingProxyType(dict(iterations=10, dilations=(8, 16))),
            ),
            EvaluationProtocol(
                'proxyclip',
                'ProxyCLIP (Lan et al., ECCV 2024), mc-lan/ProxyCLIP at e7b767f, configs/ and proxyclip_segmentor.py: '
                'windows of 336',
                _OPENAI,
                harnesses.proxyclip(),
            ),
            EvaluationProtocol(
                'corrclip',
                'CorrCLIP (Zhang et al., ICCV 2025), zdk258/CorrCLIP at 103bc18, CorrCLIPv1/configs/ and '
                'corrclip_segmentor.py: as ProxyCLIP, "people" for a person',
                _METACLIP,
                harnesses.corrclip(),
                notes=('regions and their provider are no part of it: name them beside each number',),
            ),
            EvaluationProtocol(
                'trident',
                'Trident (Shi et al., ICCV 2025), YuHengsss/Trident at a93b346, configs/: windows of 336 put together '
                'at short side 336 to 688; thresholds and likeness tuned per set',
                _OPENAI,
                harnesses.trident(),
                notes=('SAM, whose training saw masks, looks at the whole picture and refines the labels',),
            ),
            EvaluationProtocol(
                'pearl',
                'PEARL (Pei et al., CVPR 2026), PGSmall/PEARL at c26062b, configs/ and pearl_ovss.py: as NACLIP; '
                'weight of kk and grid of the propagation tuned for Cityscapes and ADE20K',
                _OPENAI,
                harnesses.pearl(),
            ),
            EvaluationProtocol(
                'scclip',
                'SC-CLIP (Bai et al., 2024), SuleBai/SC-CLIP at 0417ba9, configs/: windows of 224 at short '
                'side 336; scale and thresholds tuned for the sets with background',
                _OPENAI,
                harnesses.scclip(),
            ),
            EvaluationProtocol(
                'sfp',
                'SFP (Jin et al., ICCV 2025), Kimsure/SFP at 2804f5b, SFP_ICCV/configs/: as SC-CLIP, ADE20K at short '
                'side 384, and "people" for "person"',
                _OPENAI,
                harnesses.sfp(),
            ),
            EvaluationProtocol(
                'cass',
                'CASS (Kim et al., CVPR 2025), MICV-yonsei/CASS at 228ecdd, configs/ and eval_all.sh: as NACLIP '
                'without PAMR, VOC20 in windows; object presence tuned for every set',
                _OPENAI,
                harnesses.cass(),
            ),
            EvaluationProtocol(
                'glaclip',
                'GLA-CLIP (Lee et al., CVPR 2026), 2btlFe/GLA-CLIP at ba74915, configs/: windows of 224, Cityscapes '
                'at short side 560, others at 336',
                _OPENAI,
                harnesses.glaclip(),
            ),
            EvaluationProtocol(
                'lposs',
                'LPOSS (Stojnic et al., CVPR 2025), vladan-stojnic/LPOSS at e489a74, segmentation/configs/: windows of '
                '224 at short side 448, background as words',
                _LAION,
                harnesses.lposs(),
            ),
            EvaluationProtocol(
                'talk2dino',
                'Talk2DINO (Barsellotti et al., ICCV 2025), lorebianchi98/Talk2DINO at 4918c2d, '
                'src/open_vocabulary_segmentation/: windows of 448 at short side 448, without PAMR',
                _TALK2DINO,
                harnesses.talk2dino(),
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
                harnesses.dinotxt(),
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
                harnesses.spar(),
                clip=MappingProxyType(dict(read_out=dict(pos_resize='bicubic+0.1', antialias=False))),
                notes=("positions are resized as the authors do and as the student's training does, by every preset",),
            ),
            EvaluationProtocol(
                'maskclip_orig',
                "MaskCLIP (Zhou et al., ECCV 2022), the paper's code at 245d31f: whole pictures",
                _OPENAI,
                harnesses.maskclip_orig(),
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
    'resclip': 'resclip',
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
