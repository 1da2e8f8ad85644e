"""CamVid from a checkout of the SegNet tutorial (its folder ``CamVid``)."""

from pathlib import Path

from denseclip.datasets.converters.layout import ConversionError, check_pair, complete_or_absent, place, raise_if_any

SPLITS = ('train', 'val', 'test')
NUM_IDS = 12
"""Ids 0 to 10 are classes, 11 is "unlabelled"."""


def convert_camvid(
    source: str | Path, target: str | Path, *, link: bool = False, force: bool = False
) -> dict[str, int]:
    """Check CamVid and put it where the configs look for it.

    Every picture and label map is decoded; a problem in any of them stops the conversion before anything is
    written.

    Args:
        source: The tutorial's checkout or its folder ``CamVid``, with ``train``, ``trainannot`` and so on.
        target: Folder to make, usually ``data/CamVid``.
        link: Make symbolic links instead of copies.
        force: Replace ``target`` when it exists.

    Returns:
        Number of pairs in each split.

    Raises:
        ConversionError: If folders or files are missing, unreadable, of differing sizes, or hold ids other than
            0 to 11; or if ``target`` exists and ``force`` is not set.
    """
    source, target, given = Path(source), Path(target), Path(source)
    if (source / 'CamVid').is_dir():
        source = source / 'CamVid'
    missing = [name for split in SPLITS for name in (split, f'{split}annot') if not (source / name).is_dir()]
    if missing:
        raise ConversionError(f'{source}: no folder {", ".join(missing)}; is it the CamVid of the SegNet tutorial?')

    counts = {}
    with complete_or_absent(target, sources=[given], force=force) as staging:
        names = {split: _paired_names(source, split) for split in SPLITS}
        problems = [
            problem
            for split in SPLITS
            for name in names[split]
            if (problem := check_pair(source / split / name, source / f'{split}annot' / name, NUM_IDS))
        ]
        raise_if_any(problems, source)
        for split in SPLITS:
            for name in names[split]:
                for folder in (split, f'{split}annot'):
                    place(source / folder / name, staging / folder / name, link=link)
            counts[split] = len(names[split])
    return counts


def _paired_names(source: Path, split: str) -> list[str]:
    """Names of a split's pictures; every one must have a label map and the other way round, as its list says."""
    images = {path.name for path in (source / split).glob('*.png')}
    labels = {path.name for path in (source / f'{split}annot').glob('*.png')}
    problems = [f'{source / split / name}: has no label map' for name in sorted(images - labels)]
    problems += [f'{source / f"{split}annot" / name}: has no picture' for name in sorted(labels - images)]
    listing = source / f'{split}.txt'
    if listing.is_file():
        listed = {
            Path(line.split()[0]).name for line in listing.read_text(encoding='utf-8').splitlines() if line.strip()
        }
        problems += [
            f'{source / split / name}: named in {listing.name} but missing' for name in sorted(listed - images)
        ]
    if not images:
        problems.append(f'{source / split}: holds no png file')
    raise_if_any(problems, source)
    return sorted(images)
