"""Where the pictures and masks of anomaly data sets lie on disk.

Each function lists one layout and returns entries in a fixed order (sorted by path), because the authors' tools follow
the order of the file system, which is no order.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from denseclip.datasets.anomaly_masks import SOFT
from denseclip.datasets.anomaly_pairs import MaskFinder, pictures_in, split_pairs
from denseclip.files.pictures import LOSSY, is_hidden, walk

SPLITS = ('train', 'test')
NORMAL_NAMES = ('normal', 'good', 'ok')
"""Folders of a plain data set that hold pictures without a defect."""

REPORT_FILES = ('report.html', 'scores.csv', 'boxes.csv', 'summary.json')
"""Files of every inspection; a folder that holds them is no folder of pictures."""

MASK_FOLDERS = ('masks', 'mask', 'ground_truth', 'groundtruth', 'gt')
"""Folders of a plain data set that hold masks, in any letter case."""


@dataclass(frozen=True)
class Entry:
    """One picture.

    Attributes:
        image: Its file.
        mask: File of its mask; None for normal pictures and where there is none.
        category: What is shown, as the data set calls it.
        defect: Kind of defect as the data set calls it; ``'good'`` for none in MVTec AD, ``''`` where it is not told.
        anomalous: Whether it shows a defect.
        threshold: Grey value above which a pixel of the mask is defective; None: by the mask's values.
    """

    image: Path
    mask: Path | None
    category: str
    defect: str
    anomalous: bool
    threshold: int | None = 0


def subfolders(folder: Path) -> list[Path]:
    """Folders in a folder, sorted, without hidden ones.

    Raises:
        FileNotFoundError: If there is no such folder.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"'{folder}' is not a folder")
    return sorted(p for p in folder.iterdir() if p.is_dir() and not is_hidden(p.name))


def holds_report(folder: Path) -> bool:
    """Whether a folder holds the results of an inspection: its masks are findings, not truth."""
    return all((folder / name).is_file() for name in REPORT_FILES)


def check_no_report(folder: Path) -> None:
    """Refuse a folder that results were written into, before its findings are taken for truth.

    Raises:
        ValueError: If it holds them.
    """
    if holds_report(folder):
        raise ValueError(
            f"'{folder}' holds the results of an inspection, whose masks would be taken for true ones: move "
            f'{", ".join(REPORT_FILES)}, heatmaps/ and masks/ into a folder of their own'
        )


def list_mvtec(root: Path, split: str, categories: Sequence[str] | None = None) -> list[Entry]:
    """MVTec AD: ``CATEGORY/{train,test}/{good,DEFECT}/*.png`` and ``CATEGORY/ground_truth/DEFECT/*_mask.png``.

    VisA as anomalib and its own scripts rewrite it (``visa_pytorch``) is the same with the one defect ``bad`` and masks
    that have the picture's name; BTAD calls its folders ``ok`` and ``ko``.

    Args:
        root: Folder of the categories.
        split: ``'train'`` or ``'test'``.
        categories: Which; None for all folders that look like one.

    Raises:
        FileNotFoundError: If a folder is missing.
    """
    names = categories or [folder.name for folder in subfolders(root) if (folder / 'test').is_dir()]
    if not names:
        raise FileNotFoundError(f"'{root}': no folder in it has the layout CATEGORY/test/good")
    entries, finder = [], MaskFinder()
    for category in names:
        for folder in subfolders(root / category / split):
            masks = root / category / 'ground_truth' / folder.name
            normal = folder.name.lower() in NORMAL_NAMES
            defect = 'good' if normal else folder.name
            for image in pictures_in(folder):
                mask = None if normal else finder.find(image, masks) or masks / f'{image.stem}_mask.png'
                entries.append(Entry(image, mask, category, defect, not normal))
    return entries


def mvtec_mask_places(root: Path, categories: Sequence[str] | None = None) -> list[tuple[Path, Path]]:
    """Folders of masks in MVTec AD, each with the folder of its pictures; none of defects that were removed."""
    names = categories or [folder.name for folder in subfolders(root)]
    masks = [folder for name in names for folder in sorted((root / name / 'ground_truth').glob('*/'))]
    pairs = [(folder, folder.parents[1] / 'test' / folder.name) for folder in masks]
    return [(folder, pictures) for folder, pictures in pairs if pictures.is_dir()]


def list_visa(root: Path, split: str, categories: Sequence[str] | None, split_file: str) -> list[Entry]:
    """VisA as it is published: a table of ``object, split, label, image, mask`` names the files.

    Args:
        root: Folder of the categories.
        split: ``'train'`` or ``'test'``.
        categories: Which; None for all of the table.
        split_file: The table, relative to ``root``.

    Raises:
        FileNotFoundError: If there is no such table.
        ValueError: If a line has an unknown label, or a category is not in the table.
    """
    table = root / split_file
    if not table.is_file():
        raise FileNotFoundError(f"'{table}' does not exist; VisA has it beside its categories")
    entries = []
    with table.open(encoding='utf-8', newline='') as file:
        rows = list(csv.DictReader(file))
    for line, row in enumerate(rows, start=2):
        if row['label'] not in ('normal', 'anomaly'):
            raise ValueError(f"'{table}', line {line}: label {row['label']!r} is neither normal nor anomaly")
        if row['split'] == split and (categories is None or row['object'] in categories):
            mask = root / row['mask'] if row['mask'] else None
            entries.append(Entry(root / row['image'], mask, row['object'], '', row['label'] == 'anomaly'))
    unknown = set(categories or ()) - {row['object'] for row in rows}
    if unknown:
        raise ValueError(f"'{table}' has no category {', '.join(sorted(unknown))}")
    return entries


def list_magnetic_tile(root: Path, category: str) -> list[Entry]:
    """Magnetic-tile defects: ``MT_DEFECT/Imgs/*.jpg``, masks of the same name in ``.png``; ``MT_Free`` is normal.

    The masks have soft edges and noise; what is brighter than 127 counts.

    Args:
        root: Folder of the ``MT_*`` folders.
        category: What to call the only category.

    Raises:
        FileNotFoundError: If there is no such folder.
    """
    folders = magnetic_tile_folders(root)
    if not folders:
        raise FileNotFoundError(f"'{root}' holds no folder MT_Free, MT_Crack ...")
    entries = []
    for folder in folders:
        defect = folder.name.removeprefix('MT_').lower()
        normal = defect == 'free'
        inside = folder / 'Imgs' if (folder / 'Imgs').is_dir() else folder
        for image in sorted(p for p in inside.iterdir() if p.suffix.lower() in LOSSY):
            mask = None if normal else image.with_suffix('.png')
            entries.append(Entry(image, mask, category, 'good' if normal else defect, not normal, SOFT))
    return entries


def magnetic_tile_folders(root: Path) -> list[Path]:
    """Folders ``MT_Free``, ``MT_Crack`` ... of the Magnetic-tile set as it comes; none in other folders."""
    return [folder for folder in subfolders(root) if folder.name.startswith('MT_')]


def list_folder(root: Path, category: str, normal: Sequence[str] = NORMAL_NAMES) -> list[Entry]:
    """A plain folder: ``normal/`` (or ``good/``, ``ok/``), any other folders with defects, and optionally ``masks/``.

    Pictures lie at any depth in these folders.

    Masks are found by name: ``masks/scratch/01.png``, ``masks/scratch/01_mask.png`` (or ``_gt``, ``-mask``, ``_label``
    and so on), the same without the sub-folder, or beside the picture (``scratch/01_mask.png``, ``01.png`` beside
    ``01.jpg``). A category of MVTec AD or BTAD is such a folder too: its ``test/`` and ``ground_truth/`` are used. The
    Magnetic-tile set is read as it comes. Folders with the report of an inspection are left out.

    Args:
        root: The folder.
        category: What to call the only category.
        normal: Names of folders without defects, in any letter case.

    Raises:
        FileNotFoundError: If there is no folder with pictures.
        ValueError: If it holds the results of an inspection.
    """
    check_no_report(root)
    if magnetic_tile_folders(root):
        return list_magnetic_tile(root, category)
    places = folder_mask_places(root)
    masked = [place for place, _ in places]
    chosen = {name.lower() for name in normal}
    entries, finder = [], MaskFinder()
    for folder in subfolders(_pictures_of(root)):
        if folder in masked or holds_report(folder):
            continue
        is_normal = folder.name.lower() in chosen
        images, beside = _pictures_below(folder)
        stems = Counter(image.stem.casefold() for image in images)
        for image in images:
            inside = [
                *_mask_folders(image.parent),
                *(base / image.parent.relative_to(folder.parent) for base in masked),
            ]
            if image.parent == folder or stems[image.stem.casefold()] == 1:  # else a mask might be of any of these
                inside += [place for base in masked for place in (base / folder.name, base)]
            mask = next(filter(None, (finder.find(image, place) for place in inside)), beside.get(image))
            mask = None if is_normal else mask
            defect = 'good' if is_normal else folder.name
            entries.append(Entry(image, mask, category, defect, not is_normal, threshold=None))
    if not entries:
        raise FileNotFoundError(
            f"'{root}' has no sub-folder with pictures; expected normal/ and one folder for each kind of defect"
        )
    return entries


def _pictures_below(folder: Path) -> tuple[list[Path], dict[Path, Path]]:
    """Pictures in a folder and its folders but those of masks, and the masks that lie beside some of them."""
    images: list[Path] = []
    masks: dict[Path, Path] = {}
    for place, folders, _ in walk(folder):
        folders[:] = [n for n in folders if n.lower() not in MASK_FOLDERS and not holds_report(Path(place, n))]
        found, beside = split_pairs(pictures_in(Path(place)))
        images += found
        masks |= beside
    return images, masks


def _mask_folders(folder: Path) -> list[Path]:
    return [inside for inside in subfolders(folder) if inside.name.lower() in MASK_FOLDERS]


def folder_mask_places(root: Path) -> list[tuple[Path, Path]]:
    """Folders of masks in a plain folder, each with the folder that its pictures are below."""
    return [(folder, _pictures_of(root)) for folder in _mask_folders(root)]


def _pictures_of(root: Path) -> Path:
    return root / 'test' if (root / 'test').is_dir() else root
