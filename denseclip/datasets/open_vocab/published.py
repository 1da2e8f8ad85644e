"""Published mIoU of dense CLIP without labels, with what each number was measured under.

None of these was measured here. "Second-hand" means: read in another paper's or repository's table, not in the
method's own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

_ORDER = ('voc21', 'context60', 'coco_object', 'voc20', 'cityscapes', 'context59', 'ade20k', 'coco_stuff')


@dataclass(frozen=True)
class Published:
    """One row of a published table.

    Attributes:
        method: As the paper calls it.
        weights: CLIP model and pretrained tag, or another model.
        source: Where the numbers stand.
        miou: Percent, by name of the set.
        preset: Name of the preset or model of the suite that does the same; empty if there is none.
        protocol: Name of the suite's protocol; empty if it was measured under none that is defined here.
        note: What is special about it.
        saw: What its parts were trained with, of ``'captions'``, ``'masks'``, ``'labels'`` (classes of pixels or of
            pictures), and ``'COCO'`` where pictures of that set are among it, whose kind most of the sets are.
    """

    method: str
    weights: str
    source: str
    miou: Mapping[str, float]
    preset: str = ''
    protocol: str = ''
    note: str = ''
    saw: tuple[str, ...] = ('captions',)


_B16 = 'ViT-B-16 openai'
_B16_LAION = 'ViT-B-16 laion2b_s34b_b88k'
_TRIDENT = "Trident's table, second-hand"
_OV_STITCHER = "OV-Stitcher's table, second-hand"
_CLEARCLIP = "ClearCLIP's table"
_ACTIVESAM = "ActiveSAM's table, second-hand"
_TABLE_UNKNOWN = 'second-hand, table not recorded'
_README = "README of the authors' repository"
_SAM = 'regions of SAM 2, whose training saw masks (SA-1B, SA-V) and no words'
_COCO = 'regions of a model that saw masks, classes and pictures of COCO'
_ENTITY = 'regions of EntitySeg, whose training saw masks and no words'
_FREECP = 'classes chosen per window, some of them by sentences of a language model; thresholds tuned per set'


def _row(
    method: str,
    weights: str,
    source: str,
    numbers: str,
    preset: str = '',
    protocol: str = '',
    note: str = '',
    saw: str = 'captions',
) -> Published:
    """A row from eight numbers in the order of the tables; ``-`` where none was published."""
    cells = numbers.split()
    assert len(cells) == len(_ORDER), numbers
    miou = {name: float(cell) for name, cell in zip(_ORDER, cells, strict=True) if cell != '-'}
    return Published(method, weights, source, MappingProxyType(miou), preset, protocol, note, tuple(saw.split(', ')))


def _corrclip(weights: str, source: str, numbers: str, note: str) -> Published:
    saw = 'captions, masks, labels, COCO' if note == _COCO else 'captions, masks'
    return _row('CorrCLIP', weights, source, numbers, 'corrclip', 'corrclip', note, saw)


PUBLISHED: tuple[Published, ...] = (
    _row('CLIP', _B16, _TRIDENT, '16.4 8.4 5.6 41.9 5.0 9.2 2.9 4.4', 'clip'),
    _row(
        'MaskCLIP',
        _B16_LAION,
        'README of FLOSS, second-hand',
        '- - - 61.8 25.0 25.5 14.2 17.5',
        'maskclip',
        'dinoiser',
        'the value path inside CLIP-DINOiser',
    ),
    _row('MaskCLIP', _B16, _TRIDENT, '43.4 23.2 20.6 74.9 24.9 26.4 11.9 16.7', 'maskclip', note='protocol of TCL'),
    _row(
        'MaskCLIP',
        _B16,
        'tables of ClearCLIP and ResCLIP, second-hand',
        '38.8 23.6 20.6 74.9 12.6 26.4 9.8 16.4',
        'maskclip',
        note='protocol not documented',
    ),
    _row(
        'MaskCLIP',
        _B16,
        _README,
        '- - - 49.5 - 21.7 - 12.5',
        'maskclip_orig',
        'maskclip_orig',
        'whole pictures',
    ),
    _row('MaskCLIP', 'RN50 openai', _README, '- - - 41.5 - 18.5 - 10.2', 'maskclip_orig', 'maskclip_orig'),
    _row('MaskCLIP', 'RN50x16 openai', _README, '- - - 50.9 - 20.3 - 13.6', 'maskclip_orig', 'maskclip_orig'),
    _row(
        'CLIP-DINOiser',
        _B16_LAION,
        "paper, as in Trident's table",
        '62.1 32.4 34.8 80.9 31.7 35.9 20.0 24.6',
        'dinoiser',
        'dinoiser',
    ),
    _row(
        'CLIP-DINOiser',
        _B16_LAION,
        're-run in the README of FLOSS, second-hand',
        '- - - 80.9 31.1 35.9 20.0 24.6',
        'dinoiser',
        'dinoiser',
    ),
    _row(
        'FLOSS on CLIP-DINOiser',
        _B16_LAION,
        'README of FLOSS',
        '- - - 82.3 34.6 36.2 20.7 24.7',
        note='four templates chosen per class by entropy',
    ),
    _row('SCLIP', _B16, _TRIDENT, '59.1 30.4 30.5 80.4 32.2 34.2 16.1 22.4', 'sclip', 'sclip'),
    _row('SCLIP', _B16, _README, '59.6 31.7 33.5 81.5 32.3 34.5 16.5 22.8', 'sclip', 'sclip', 'tuned names'),
    _row('ClearCLIP', _B16, _CLEARCLIP, '51.8 32.6 33.0 80.9 30.0 35.9 16.7 23.9', 'clearclip', 'clearclip'),
    _row('ClearCLIP', _B16_LAION, _CLEARCLIP, '- - - 81.4 31.8 34.1 18.9 23.1', 'clearclip', 'clearclip'),
    _row(
        'GEM',
        _B16,
        f'{_CLEARCLIP}, second-hand',
        '46.2 32.6 - 79.9 30.8 35.9 15.7 23.7',
        'gem',
        note='protocol not documented',
    ),
    _row('NACLIP', _B16, _TRIDENT, '58.9 32.2 33.2 79.7 35.5 35.2 17.4 23.3', 'naclip', 'naclip'),
    _row('NACLIP + PAMR', _B16, _README, '64.1 35.0 36.2 83.0 38.3 38.4 19.1 25.7', 'naclip', 'naclip_pamr'),
    _row(
        'ProxyCLIP',
        f'{_B16} + DINO ViT-B/8',
        _TRIDENT,
        '61.3 35.3 37.5 80.3 38.1 39.1 20.2 26.5',
        'proxyclip',
        'proxyclip',
    ),
    _row(
        'ProxyCLIP',
        'OpenCLIP ViT-H-14 + DINO ViT-B/8',
        _TRIDENT,
        '65.0 35.4 38.6 83.3 42.0 39.6 24.2 26.8',
        'proxyclip',
    ),
    _row(
        'CLIPtrase',
        _B16,
        _README,
        '53.0 30.8 44.8 81.2 - 34.9 17.0 24.1',
        note='a centre crop of 336 is scored; COCO-Object has 80 classes; patches are clustered',
    ),
    _row(
        'ResCLIP on NACLIP',
        _B16,
        "ResCLIP's table",
        '61.1 33.5 35.0 86.0 35.9 36.8 18.0 24.7',
        'resclip',
        'resclip',
        'weights of the mixture are tuned per set',
    ),
    _row('LaVG', f'{_B16} + DINO', _README, '62.1 31.6 34.2 82.5 26.2 34.7 15.8 23.2', note='masks of a panoptic cut'),
    _row(
        'PEARL',
        _B16,
        "table in the README of the authors' repository",
        '64.1 35.1 37.3 86.9 37.6 38.6 19.4 26.3',
        'pearl',
        'pearl',
        'weight of kk and grid tuned per set',
    ),
    _row(
        'LPOSS',
        f'{_B16_LAION} + DINO ViT-B/16',
        _TABLE_UNKNOWN,
        '61.1 34.6 33.4 78.8 37.3 37.8 21.8 25.9',
        'lposs',
        'lposs',
        'patches alone, no graph of pixels',
    ),
    _row(
        'SC-CLIP',
        _B16,
        _OV_STITCHER,
        '64.6 36.8 37.7 84.3 41.0 40.1 20.1 26.6',
        'scclip',
        'scclip',
        'scale and thresholds tuned per set',
    ),
    _row(
        'SFP',
        _B16,
        _OV_STITCHER,
        '62.9 37.2 37.9 84.5 41.1 39.9 20.8 26.4',
        'sfp',
        'sfp',
        "scale and thresholds tuned per set; mean of these eight 43.8, said to be 44.0; 39.6 in PEARL's re-run",
    ),
    _row(
        'CASS',
        f'{_B16} + DINO ViT-B/8',
        _TABLE_UNKNOWN,
        '65.8 36.7 37.8 87.8 39.4 40.2 20.4 26.7',
        'cass',
        'cass',
        "object presence tuned per set; mean 44.4 here, in PEARL's re-run 40.1 with DINOv2 and 42.2 with DINOv3",
    ),
    _row(
        'SPAR',
        'SigLIP2 ViT-B-16 or dino.txt ViT-L-16, not said which',
        'list of benchmark results at wizwand.com, second-hand',
        '51.2 37.1 - 91.5 40.1 41.5 26.1 -',
        note="the last blocks are trained on pictures without labels; mean of these six 47.9; the paper's means of "
        'OpenCLIP ViT-B-16 are 27.7 before and 34.4 after, of SigLIP2 33.1 and 43.6, second-hand, too',
    ),
    _row('FreeCP on MaskCLIP', _B16, _README, '64.4 34.7 36.2 84.1 32.5 36.6 17.6 23.3', note=_FREECP),
    _row('FreeCP on GEM', _B16, _README, '64.7 35.5 36.9 80.6 35.7 39.1 17.8 25.8', note=_FREECP),
    _row('FreeCP on SCLIP', _B16, _README, '65.8 35.3 37.2 84.3 33.3 38.0 18.4 24.9', note=_FREECP),
    _row('FreeCP on ClearCLIP', _B16, _README, '64.5 35.7 36.9 81.5 34.4 39.3 18.9 26.1', note=_FREECP),
    _corrclip(
        f'{_B16} + DINO ViT-B/8 + SAM 2',
        "OV-Stitcher's table, second-hand",
        '72.2 41.6 40.7 88.7 44.6 47.1 23.7 30.7',
        _SAM,
    ),
    _corrclip('MetaCLIP ViT-B-16 + DINO ViT-B/8 + SAM 2', _README, '74.8 44.2 43.7 88.8 49.4 48.8 26.9 31.6', _SAM),
    _corrclip(
        'MetaCLIP ViT-B-16 + DINO ViT-B/8 + Mask2Former', _README, '73.9 43.7 46.2 87.8 44.3 48.2 24.6 33.9', _COCO
    ),
    _corrclip('MetaCLIP ViT-B-16 + DINO ViT-B/8 + EoMT', _README, '76.0 45.4 46.6 90.6 48.0 50.4 26.7 34.5', _COCO),
    _corrclip(
        'MetaCLIP ViT-B-16 + DINO ViT-B/8 + EntitySeg', _README, '76.2 45.7 44.5 89.6 51.6 50.7 28.6 32.4', _ENTITY
    ),
    _corrclip(
        'MetaCLIP ViT-L-14 + DINO ViT-B/8 + EntitySeg', _README, '78.9 46.8 51.0 92.0 53.7 53.0 32.6 34.9', _ENTITY
    ),
    _row(
        'CorrCLIPv2',
        'MetaCLIP ViT-B-16 + C-RADIOv3-L + EntitySeg',
        _README,
        '82.2 50.8 54.6 93.6 58.7 56.3 33.2 38.5',
        note='retrieves from a memory of unlabelled pictures of COCO; a second CLIP (DFN) speaks through the memory, '
        'and the region model has seen masks',
        saw='captions, masks, COCO',
    ),
    _row(
        'Trident',
        f'{_B16} + DINO + SAM',
        "Trident's table",
        '67.1 38.6 41.1 84.5 42.9 42.2 21.9 28.3',
        'trident',
        'trident',
        note='SAM also refines the labels; thresholds tuned per set',
        saw='captions, masks',
    ),
    _row(
        'Trident',
        'ViT-H-14 + DINO + SAM',
        "Trident's table",
        '70.8 40.1 42.2 88.7 47.6 44.3 26.7 28.6',
        'trident',
        note='SAM also refines the labels; thresholds tuned per set',
        saw='captions, masks',
    ),
    _row(
        'Talk2DINO',
        'DINOv2 ViT-B/14 with registers + CLIP text',
        _ACTIVESAM,
        '65.8 37.7 45.1 88.5 38.1 42.4 22.5 30.2',
        'talk2dino',
        note='a projection is trained on captions',
        saw='captions, COCO',
    ),
    _row(
        'dino.txt',
        'DINOv2 ViT-L/14',
        _TABLE_UNKNOWN,
        '- - - - 41.0 36.7 25.1 24.1',
        'dinotxt',
        note='text tower and two blocks are trained on captions',
    ),
    _row(
        'SAM 3',
        'facebook/sam3',
        _ACTIVESAM,
        '81.9 46.1 65.4 88.9 62.3 50.0 31.8 33.3',
        note='the best class of each pixel; it saw masks and phrases',
        saw='captions, masks',
    ),
    _row(
        'ActiveSAM',
        'facebook/sam3',
        "ActiveSAM's table",
        '83.8 55.4 72.0 97.0 69.7 60.1 40.0 44.4',
        note='SAM 3 with longer prompts, classes chosen by a preview, thresholds per set; it saw masks and phrases',
        saw='captions, masks',
    ),
)
"""All rows, method by method."""


def published(
    set_name: str, *, preset: str | None = None, weights: str | None = None, protocol: str | None = None
) -> list[Published]:
    """Rows that have a number for a set; arguments left out allow anything.

    Args:
        set_name: Name of the set.
        preset: Of this preset.
        weights: With these weights, ``'MODEL TAG'``.
        protocol: Under this protocol.
    """
    return [
        row
        for row in PUBLISHED
        if set_name in row.miou
        and (preset is None or row.preset == preset)
        and (weights is None or row.weights == weights)
        and (protocol is None or row.protocol == protocol)
    ]
