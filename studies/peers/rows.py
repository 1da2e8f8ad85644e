"""The rows of the table: which peer, at which commit, against which model of the suite, on which input."""

from __future__ import annotations

from dataclasses import dataclass

Size = tuple[int, int]


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        name: Its name in options.
        folder: Name of the checkout below the folder of peers.
        repository: Where it comes from.
        commit: The commit that the row was written for.
        family: Which loader of :mod:`studies.peers.theirs` builds the peer.
        preset: The suite's preset.
        size: Of the network's input, after resizing.
        window: Side and step of sliding windows; None: the whole picture.
        needs: Python packages that the peer needs besides PyTorch.
        note: What to know of the comparison.
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

    @property
    def shape(self) -> str:
        """Input and windows, for the table."""
        windows = 'whole' if self.window is None else f'windows of {self.window[0]} every {self.window[1]}'
        return f'{self.size[0]} x {self.size[1]}, {windows}'


_GRID = (336, 448)
_WIDE = (448, 592)
_DINOISER = ('clip_dinoiser', 'wysoczanska/clip_dinoiser', 'a954aae')
_OPEN_CLIP = 'open_clip_torch==2.24.0, mmcv, mmseg'

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
        'einops, openpyxl; facebookresearch/dino as dino beside it',
        'with DINO ViT-B/8',
    ),
    Row('gem', 'GEM', 'WalBouss/GEM', '5fa677c', 'gem', 'gem', (448, 448), None, 'open_clip_torch==2.24.0, einops'),
    Row('maskclip', *_DINOISER, 'maskclip', 'maskclip', (448, 448), None, _OPEN_CLIP, 'as inside CLIP-DINOiser'),
    Row('dinoiser', *_DINOISER, 'dinoiser', 'dinoiser', (448, 448), None, _OPEN_CLIP),
)
"""All of them."""
