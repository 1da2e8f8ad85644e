"""ADE20K with 847 classes from the full annotation (``ADE20K_2021_17_01.zip`` of the data set's page)."""

from functools import cache
from pathlib import Path

import numpy as np

from denseclip.datasets.converters.layout import ConversionError, raise_if_any
from denseclip.datasets.converters.relabel import Pair, convert_pairs, id_table
from denseclip.datasets.files import UnreadableFileError
from denseclip.files.pixels import open_safely

SHORT_SIDE = 512
"""Larger pictures are shrunk to this shorter side, as in the published evaluation."""
IGNORED = 65535
NUM_IDS = 26 * 256
"""Numbers in the files are below this: R is at most 255, so R // 10 at most 25."""
SPLITS = ('training', 'validation')


@cache
def source_ids() -> tuple[int, ...]:
    """For each of the 847 classes of the list ``ade20k_full``, its number in the files."""
    text = Path(__file__).with_name('ade20k_full_ids.txt').read_text(encoding='utf-8')
    return tuple(int(line) for line in text.splitlines() if not line.startswith('#'))


def full_table() -> np.ndarray:
    """Numbers of the files to ids 0 to 846; all other parts of the world become 65535."""
    return id_table({old: new for new, old in enumerate(source_ids())}, size=NUM_IDS, other=IGNORED)


def decode_numbers(pixels: np.ndarray) -> np.ndarray:
    """Numbers of a ``*_seg.png``: ``R // 10 * 256 + G``.

    Shape:
        - pixels: (H, W, 3), uint8; result: (H, W), int32
    """
    wide = pixels.astype(np.int32)
    return wide[..., 0] // 10 * 256 + wide[..., 1]


def convert_ade20k_full(
    source: str | Path,
    target: str | Path,
    *,
    splits: tuple[str, ...] = ('validation',),
    link: bool = False,
    force: bool = False,
    num_workers: int = 2,
) -> dict[str, int]:
    """Make ``images/SPLIT/NAME.jpg`` and 16-bit ``annotations/SPLIT/NAME.png`` (ids 0 to 846, 65535 = ignored).

    Pictures whose shorter side is longer than 512 are shrunk together with their label maps.

    Args:
        source: Folder ``ADE20K_2021_17_01``, with ``images/ADE/SPLIT/**/NAME.jpg`` and ``NAME_seg.png`` beside it.
        target: Folder to make, usually ``data/ade20k_full``.
        splits: ``'validation'`` (2000 pictures) is what is scored; ``'training'`` has 25574.
        link: Make symbolic links to the pictures that keep their size instead of copies.
        force: Replace ``target`` when it exists.
        num_workers: Threads that decode files.

    Returns:
        Number of pairs in each split.

    Raises:
        ConversionError: See :func:`denseclip.datasets.converters.relabel.convert_pairs`.
    """
    source, pairs, counts = Path(source), [], {}
    for split in splits:
        found = _listed(source, split)
        counts[split] = len(found)
        pairs += [
            Pair(
                image,
                image.with_name(f'{image.stem}_seg.png'),
                f'images/{split}/{image.name}',
                f'annotations/{split}/{image.stem}.png',
            )
            for image in found
        ]
    convert_pairs(
        pairs,
        full_table(),
        Path(target),
        source=source,
        link=link,
        force=force,
        num_workers=num_workers,
        read=read_numbers,
        short_side=SHORT_SIDE,
    )
    return counts


def read_numbers(path: Path) -> np.ndarray:
    """Read the object numbers of a ``*_seg.png``, (H, W).

    Raises:
        UnreadableFileError: If there is no such file or it holds no colours.
    """
    try:
        with open_safely(path) as image:
            pixels = np.asarray(image)
    except FileNotFoundError:
        raise UnreadableFileError(f'{path}: no such file') from None
    except (OSError, SyntaxError) as error:
        raise UnreadableFileError(f'{path}: cannot be read ({error})') from error
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        raise UnreadableFileError(f'{path}: holds {pixels.shape}; the full annotation has three channels')
    return decode_numbers(pixels)


def _listed(source: Path, split: str) -> list[Path]:
    """Pictures of a split, sorted by name; every one must have its label map."""
    if split not in SPLITS:
        raise ConversionError(f"no split '{split}'; choose from {', '.join(SPLITS)}")
    folder = source / 'images' / 'ADE' / split
    images = sorted(folder.rglob('*.jpg'), key=lambda path: path.name)
    if not images:
        raise ConversionError(f'{source}: no pictures below images/ADE/{split}; is it the folder ADE20K_2021_17_01?')
    missing = [image.with_name(f'{image.stem}_seg.png') for image in images]
    raise_if_any([f'{path}: no such file' for path in missing if not path.is_file()], source)
    return images
