"""Tiny data sets, drawn by a seed, in the exact on-disk layouts of the real ones.

What reads them are the real data set classes and pipelines, so tests of configs and tools need no download. Each
class has a colour and a texture of its own: a few training steps already learn something.

Example:
    >>> from generated import write_dataset
    >>> root = write_dataset('camvid', 'data/CamVid', num_train=4, num_val=2)  # doctest: +SKIP
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from denseclip.visualization.palette import class_colour

IGNORED = 255
"""Id of pixels of no class in a :class:`Scene`; each layout writes it as its own files do."""


@dataclass(frozen=True)
class Scene:
    """One drawn picture.

    Attributes:
        image: RGB, uint8, shape (H, W, 3).
        labels: Class ids from 0 and :data:`IGNORED`, uint8, shape (H, W).
    """

    image: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Request:
    """What a layout's writer is asked for: pictures for each split, their size, how many classes appear in them."""

    root: Path
    num_train: int
    num_val: int
    size: tuple[int, int]
    num_classes: int
    seed: int

    def scenes(self, split: str, count: int) -> Iterator[Scene]:
        """Draw ``count`` pictures; another split never repeats them."""
        for index in range(count):
            yield draw_scene(
                _generator(self.seed, split, index),
                size=self.size,
                # a few classes at a time, walking through all of them
                classes=[(index * 4 + k) % self.num_classes for k in range(min(5, self.num_classes))],
            )


@dataclass(frozen=True)
class Layout:
    """How one real data set lies on disk.

    Attributes:
        name: Name to ask for it by.
        dataset_types: Data set classes that read it.
        num_classes: Number of classes of the real set.
        size: Height and width of the drawn pictures unless asked otherwise.
        write: Writes the files of a :class:`Request`.
    """

    name: str
    dataset_types: tuple[str, ...]
    num_classes: int
    size: tuple[int, int]
    write: Callable[[Request], None]


LAYOUTS: dict[str, Layout] = {}
"""All known layouts by name; grows with :func:`register_layout`."""


def register_layout(
    name: str, *, dataset_types: tuple[str, ...], num_classes: int, size: tuple[int, int]
) -> Callable[[Callable[[Request], None]], Callable[[Request], None]]:
    """Register the decorated writer as the layout ``name``; arguments as for :class:`Layout`."""

    def register(write: Callable[[Request], None]) -> Callable[[Request], None]:
        if name in LAYOUTS:
            raise ValueError(f'layout {name!r} is already registered')
        LAYOUTS[name] = Layout(name, dataset_types, num_classes, size, write)
        return write

    return register


def layout_of(dataset_type: str) -> Layout:
    """Find the layout that a data set class reads.

    Args:
        dataset_type: Name of the class as in a config, for example ``'ADE20KDataset'``.

    Raises:
        KeyError: If none is known, saying how to add one.
    """
    for layout in LAYOUTS.values():
        if dataset_type in layout.dataset_types:
            return layout
    raise KeyError(
        f'no generated layout for {dataset_type!r}; known: {sorted(LAYOUTS)}. '
        'Add one with register_layout in tests/helpers/generated'
    )


def write_dataset(
    layout: str,
    root: str | Path,
    *,
    num_train: int = 4,
    num_val: int = 2,
    size: tuple[int, int] | None = None,
    num_classes: int | None = None,
    seed: int = 0,
) -> Path:
    """Draw a tiny data set.

    Args:
        layout: One of :data:`LAYOUTS`.
        root: Folder to write into, the ``data_root`` of the config; it must be empty or not exist.
        num_train: Pictures for training.
        num_val: Pictures for each other split.
        size: Height and width; default: the layout's.
        num_classes: Use only the first so many classes of the real set; default: all.
        seed: The same arguments always give the same pixels.

    Returns:
        ``root`` as a path.

    Raises:
        KeyError: If the layout is unknown.
        ValueError: If ``num_classes`` is not within the real set.
        FileExistsError: If ``root`` holds files: they are never overwritten or mixed with drawn ones.
    """
    if layout not in LAYOUTS:
        raise KeyError(f'unknown layout {layout!r}; known: {sorted(LAYOUTS)}')
    chosen = LAYOUTS[layout]
    num_classes = chosen.num_classes if num_classes is None else num_classes
    if not 1 <= num_classes <= chosen.num_classes:
        raise ValueError(f'num_classes must be within 1..{chosen.num_classes} for {layout!r}, got {num_classes}')
    root = Path(root)
    if root.exists() and any(root.iterdir()):
        raise FileExistsError(f'{root} is not empty; generated data is only written into a new folder')
    chosen.write(Request(root, num_train, num_val, size or chosen.size, num_classes, seed))
    return root


def draw_scene(rng: np.random.Generator, *, size: tuple[int, int], classes: list[int]) -> Scene:
    """Draw a ground of the first class with rectangles and discs of the others on it.

    Args:
        rng: Source of all chance.
        size: Height and width.
        classes: Ids to draw, in this order; later shapes cover earlier ones.

    Returns:
        A picture in which about 2 % of the pixels (its upper edge) are ignored.
    """
    height, width = size
    labels = np.full(size, classes[0], dtype=np.uint8)
    rows, cols = np.mgrid[:height, :width]
    for class_id in classes[1:]:
        cy, cx = rng.uniform(0.1, 0.9) * height, rng.uniform(0.1, 0.9) * width
        ry, rx = rng.uniform(0.12, 0.3) * height, rng.uniform(0.12, 0.3) * width
        distance_y, distance_x = np.abs(rows - cy) / ry, np.abs(cols - cx) / rx
        disc = rng.random() < 0.5
        inside = distance_y**2 + distance_x**2 < 1 if disc else np.maximum(distance_y, distance_x) < 1
        labels[inside] = class_id
    image = np.zeros((height, width, 3), dtype=np.float64)
    for class_id in classes:
        stripes = np.sin((rows + (class_id % 3) * cols) * (0.4 + 0.2 * (class_id % 5)))
        texture = class_colour(class_id) + 18.0 * stripes[..., None]
        image = np.where((labels == class_id)[..., None], texture, image)
    image = image * rng.uniform(0.85, 1.1) + rng.normal(0.0, 6.0, size=image.shape)
    labels[: max(1, height // 50)] = IGNORED
    return Scene(image.clip(0, 255).astype(np.uint8), labels)


@register_layout('ade20k', dataset_types=('ADE20KDataset',), num_classes=150, size=(96, 128))
def _write_ade20k(request: Request) -> None:
    """ADEChallengeData2016: jpg pictures of differing sizes, png label maps with 0 = no class and ids from 1."""
    for split, prefix, count in (
        ('training', 'train', request.num_train),
        ('validation', 'val', request.num_val),
    ):
        for index, scene in enumerate(request.scenes(split, count), start=1):
            # real pictures differ in size: every other one is cut on the right
            columns = slice(None, None if index % 2 else -request.size[1] // 8)
            labels = scene.labels[:, columns]
            name = f'ADE_{prefix}_{index:08d}'
            _save(scene.image[:, columns], request.root / 'images' / split / f'{name}.jpg')
            _save(np.where(labels == IGNORED, 0, labels + 1), request.root / 'annotations' / split / f'{name}.png')


@register_layout('camvid', dataset_types=('CamVidDataset',), num_classes=11, size=(360, 480))
def _write_camvid(request: Request) -> None:
    """CamVid of the SegNet tutorial: png pictures and label maps of one name, 11 = no class, and list files."""
    for split, count in (('train', request.num_train), ('val', request.num_val), ('test', request.num_val)):
        lines = []
        for index, scene in enumerate(request.scenes(split, count)):
            name = f'{split}_{index:06d}.png'
            _save(scene.image, request.root / split / name)
            labels = np.where(scene.labels == IGNORED, 11, scene.labels)
            _save(labels, request.root / f'{split}annot' / name)
            lines.append(f'/SegNet/CamVid/{split}/{name} /SegNet/CamVid/{split}annot/{name}\n')
        (request.root / f'{split}.txt').write_text(''.join(lines), encoding='utf-8')


def _generator(seed: int, split: str, index: int) -> np.random.Generator:
    """A stream of chance for one picture, independent of how many others are drawn."""
    return np.random.default_rng([seed, *split.encode(), index])


def _save(array: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array.astype(np.uint8)).save(path, quality=95)
