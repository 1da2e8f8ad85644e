"""The rows of the table: which peer, at which commit, against which model of the suite, on which input."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

Size = tuple[int, int]


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        name: Its name in options.
        folder: Name of the checkout below the folder of peers; of the package, if the peer is one.
        repository: Where it comes from; ``'PyPI'``: a package of that name.
        commit: The commit, or the package's version, that the row was written for.
        family: Which of the module's models is built.
        preset: The suite's preset; ``''``: the module builds the suite's model by itself.
        size: Of the network's input, after resizing.
        window: Side and step of sliding windows; None: the whole picture.
        needs: Python packages that the peer needs besides PyTorch.
        note: What to know of the comparison.
        module: Module of this package with ``theirs`` and ``ours``; ``''``: :mod:`.theirs` and :mod:`.ours`.
        beside: Further checkouts that the peer imports from, as ``owner/name``.
        enlarged: Side of the result over that of the input.
        classes: Its one vocabulary size; None: those asked for; 0: it takes no words.
    """

    name: str
    folder: str
    repository: str
    commit: str
    family: str
    preset: str
    size: Size
    window: Size | None = None
    needs: str = 'mmcv, mmseg, ftfy, regex'
    note: str = ''
    module: str = ''
    beside: tuple[str, ...] = ()
    enlarged: float = 1.5
    classes: int | None = None

    @property
    def is_package(self) -> bool:
        """Whether the peer is installed, not checked out."""
        return self.repository == 'PyPI'

    @property
    def source(self) -> str:
        """Where it comes from, for the table."""
        return f'{self.folder} {self.commit}' if self.is_package else f'{self.repository} at {self.commit}'

    @property
    def has_precisions(self) -> bool:
        """Whether the suite's side has a model that predicts: metrics have none, and a step trains."""
        return self.module != 'metrics' and not self.family.endswith('step')

    def folders(self, peers: Path) -> list[Path]:
        """The checkouts that it imports from."""
        names = [] if self.is_package else [self.folder]
        return [peers / name for name in (*names, *(name.rpartition('/')[2] for name in self.beside))]

    @property
    def shape(self) -> str:
        """Input and windows, for the table."""
        windows = 'whole' if self.window is None else f'windows of {self.window[0]} every {self.window[1]}'
        return f'{self.size[0]} x {self.size[1]}, {windows}'


_GRID = (336, 448)
_WIDE = (448, 592)
_DINOISER = ('clip_dinoiser', 'wysoczanska/clip_dinoiser', 'a954aae')
_OPEN_CLIP = 'open_clip_torch==2.24.0, mmcv, mmseg'
_ANOMALY: dict[str, Any] = dict(module='anomaly', classes=0)
_WINCLIP: dict[str, Any] = dict(needs='open_clip_torch<2.26', **_ANOMALY)
_KORNIA: dict[str, Any] = dict(needs='kornia, scikit-learn', **_ANOMALY)
_VIEWS = 'ViT-B/16+, 22 views, no adaptation'
_FCCLIP = ('fc-clip', 'bytedance/fc-clip', '2b0bbe2')
_MAFT = ('MAFT-Plus', 'jiaosiyu1999/MAFT-Plus', 'fd12806')
_OVSEG = ('ov-seg', 'facebookresearch/ov-seg', '36f49d4')
_SEGMENTS = 'ConvNeXt-B, 250 queries, least overlap 0.1'
_MASKS: dict[str, Any] = dict(
    module='masks',
    classes=150,
    enlarged=0.75,
    beside=('facebookresearch/detectron2',),
    needs='fvcore, iopath, omegaconf, yacs, portalocker, tabulate, cloudpickle, hydra-core',
)
_REGIONS: dict[str, Any] = {**_MASKS, 'module': 'ovseg'}
_METRIC: dict[str, Any] = dict(module='metrics', classes=150)
_DENSECLIP = ('DenseCLIP', 'raoyongming/DenseCLIP', '5eda47f')
_PROMPTED: dict[str, Any] = dict(module='prompted', classes=150, enlarged=1.0, needs='timm, mmcv, mmseg, ftfy, regex')
_ONCE = 'its text, too, encoded once'
_STEP = 'losses and gradients'

ROWS = (
    Row('sclip', 'SCLIP', 'wangf3014/SCLIP', 'b56bd30', 'sclip', 'sclip', _GRID, (224, 112)),
    Row('naclip', 'NACLIP', 'sinahmr/NACLIP', '0cac3a6', 'naclip', 'naclip', _GRID, (224, 112)),
    Row('naclip_whole', 'NACLIP', 'sinahmr/NACLIP', '0cac3a6', 'naclip', 'naclip', _GRID),
    Row('naclip_pamr', 'NACLIP', 'sinahmr/NACLIP', '0cac3a6', 'naclip', 'naclip', _GRID, note='PAMR, 10 iterations'),
    Row('clearclip', 'ClearCLIP', 'mc-lan/ClearCLIP', 'ad68a40', 'clearclip', 'clearclip', _WIDE, (448, 224)),
    Row(
        'proxyclip',
        'ProxyCLIP',
        'mc-lan/ProxyCLIP',
        'e7b767f',
        'proxyclip',
        'proxyclip',
        _GRID,
        (336, 112),
        'einops, openpyxl',
        'with DINO ViT-B/8',
        beside=('facebookresearch/dino',),
    ),
    Row('resclip', 'ResCLIP', 'yvhangyang/ResCLIP', '0e085f7', 'resclip', 'resclip', _GRID, note='on NACLIP'),
    Row('gem', 'GEM', 'WalBouss/GEM', '5fa677c', 'gem', 'gem', (448, 448), None, 'open_clip_torch==2.24.0, einops'),
    Row('maskclip', *_DINOISER, 'maskclip', 'maskclip', (448, 448), None, _OPEN_CLIP, 'as inside CLIP-DINOiser'),
    Row('dinoiser', *_DINOISER, 'dinoiser', 'dinoiser', (448, 448), None, _OPEN_CLIP),
    Row('winclip', 'anomalib', 'PyPI', '2.7.0', 'winclip', '', (240, 240), note='ViT-B/16+', **_WINCLIP),
    Row('anovl', 'AnoVL', 'hq-deng/AnoVL', '3a70bfd', 'anovl', '', (240, 240), note=_VIEWS, **_KORNIA),
    Row(
        'april_gan',
        'APRIL-GAN',
        'ByChelsea/VAND-APRIL-GAN',
        'f13b8a6',
        'april_gan',
        '',
        (512, 512),
        needs='scikit-learn',
        note='layers 3, 6, 9 and 12',
        **_ANOMALY,
    ),
    Row('fcclip_semantic', *_FCCLIP, 'fcclip_semantic', '', (384, 512), note='ConvNeXt-B, 250 queries', **_MASKS),
    Row('fcclip_panoptic', *_FCCLIP, 'fcclip_panoptic', '', (384, 512), note=_SEGMENTS, **_MASKS),
    Row('fcclip_step', *_FCCLIP, 'fcclip_step', '', (320, 320), note='ConvNeXt-B, losses and gradients', **_MASKS),
    Row('maft', *_MAFT, 'maft', '', (384, 512), note='ConvNeXt-B, 100 queries', **_MASKS),
    Row('maft_step', *_MAFT, 'maft_step', '', (320, 320), note='ConvNeXt-B, losses and gradients', **_MASKS),
    Row('ovseg', *_OVSEG, 'ovseg', '', (384, 512), note='Swin-B, ViT-L/14, 8 queries', **_REGIONS),
    Row('ovseg_step', *_OVSEG, 'ovseg_step', '', (320, 320), note='Swin-B, losses and gradients', **_REGIONS),
    Row('denseclip_rn50', *_DENSECLIP, 'denseclip_rn50', '', (512, 688), (512, 341), **_PROMPTED),
    Row('denseclip_rn50_once', *_DENSECLIP, 'denseclip_rn50_once', '', (512, 688), (512, 341), note=_ONCE, **_PROMPTED),
    Row('denseclip_vit', *_DENSECLIP, 'denseclip_vit', '', (640, 848), (640, 426), **_PROMPTED),
    Row('denseclip_vit_once', *_DENSECLIP, 'denseclip_vit_once', '', (640, 848), (640, 426), note=_ONCE, **_PROMPTED),
    Row('denseclip_rn50_step', *_DENSECLIP, 'denseclip_rn50_step', '', (512, 512), note=_STEP, **_PROMPTED),
    Row('denseclip_vit_step', *_DENSECLIP, 'denseclip_vit_step', '', (640, 640), note=_STEP, **_PROMPTED),
    Row('iou', 'mmseg', 'PyPI', '1.2.2', 'iou', '', (480, 640), needs='', note='20 label maps scored', **_METRIC),
    Row(
        'pq', 'mmdet', 'PyPI', '3.3.0', 'pq', '', (480, 640), needs='', note='20 maps of 40 segments, as PNG', **_METRIC
    ),
)
"""All of them."""
