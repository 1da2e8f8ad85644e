"""Run the trips and write the table; see the package."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools.coco import COCO

from denseclip.apis.images import read_image
from denseclip.apis.labelling.folder import Order, label_folder
from denseclip.datasets.coco_json import read_coco
from denseclip.datasets.converters import ConversionError
from denseclip.datasets.own_data import BoxData, recognise
from denseclip.structures.outlines import has_holes
from studies.interchange.drawn import NAMES, Drawn, draw_pictures, masks_of

TRIPS = (
    ('datumaro', 'datumaro'),
    ('datumaro', 'cvat'),
    ('label-studio', 'label-studio'),
    ('fiftyone', 'fiftyone'),
    ('supervision', 'coco'),
    ('supervision', 'yolo'),
    ('supervision', 'voc'),
)
"""Tool, and the layout of ours that it reads."""

Key = tuple[str, str]


@dataclass
class Objects:
    """Objects by picture and class.

    Attributes:
        masks: Or None for boxes.
        boxes: Corners.
        crowds: How many are crowds.
        total: Of all.
    """

    masks: dict[Key, list[np.ndarray]] = field(default_factory=dict)
    boxes: dict[Key, list[list[float]]] = field(default_factory=dict)
    crowds: int = 0
    total: int = 0

    def add(self, key: Key, mask: np.ndarray | None, box: Any, crowd: bool = False) -> None:
        """Note an object."""
        self.total += 1
        self.crowds += crowd
        if mask is not None:
            self.masks.setdefault(key, []).append(mask)
        if box is not None:
            self.boxes.setdefault(key, []).append([float(value) for value in box])

    def same(self, truth: Objects) -> tuple[int, int, int]:
        """How many objects of the truth are here to the pixel, how many of them have holes, and how many boxes."""
        exact = holes = boxes = 0
        for key, masks in truth.masks.items():
            left = list(self.masks.get(key, ()))
            for mask in masks:
                place = next((k for k, other in enumerate(left) if np.array_equal(mask, other)), None)
                if place is not None:
                    left.pop(place)
                    exact += 1
                    holes += has_holes(mask)
        for key, wanted in truth.boxes.items():
            near = list(self.boxes.get(key, ()))
            for box in wanted:
                place = next((k for k, other in enumerate(near) if np.abs(np.subtract(box, other)).max() < 0.01), None)
                if place is not None:
                    near.pop(place)
                    boxes += 1
        return exact, holes, boxes


def truth_of(pictures: list[Path]) -> Objects:
    """What was drawn."""
    found = Objects()
    for path in pictures:
        masks, labels = masks_of(read_image(path, 'rgb'))
        for mask, label in zip(masks, labels, strict=True):
            rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            box = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
            found.add((str(path.resolve()), NAMES[label]), mask, box)
    return found


def theirs(answer: dict[str, Any], pictures: list[Path]) -> Objects:
    """What a tool sees."""
    known = _by_pixels(pictures)
    found = Objects()
    for entry in answer['objects']:
        mask = None
        if entry['mask']:
            runs, size = entry['mask']['runs'], entry['mask']['size']
            mask = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(size)
        path = known[read_image(entry['picture'], 'rgb').tobytes()]
        found.add((path, entry['name']), mask, entry['box'])
    return found


def _by_pixels(pictures: list[Path]) -> dict[bytes, str]:
    return {read_image(path, 'rgb').tobytes(): str(path.resolve()) for path in pictures}


def ours(folder: Path, made: Path, pictures: list[Path]) -> Objects:
    """What ``denseclip new-dataset`` reads from a folder."""
    known = _by_pixels(pictures)
    data = recognise(folder, converted=made, kind='boxes', crowds='keep')
    assert isinstance(data, BoxData)
    found = Objects()
    for split in data.splits.values():
        content = read_coco(split.ann_file)
        names = {entry['id']: entry['name'] for entry in content['categories']}
        coco = COCO()
        coco.dataset = content
        coco.createIndex()
        for image in content['images']:
            path = known[read_image(split.pictures / image['file_name'], 'rgb').tobytes()]
            for entry in coco.imgToAnns[image['id']]:
                mask = coco.annToMask(entry) > 0 if entry.get('segmentation') else None
                x, y, w, h = entry['bbox']
                box = (x, y, x + w, y + h)
                found.add((path, names[entry['category_id']]), mask, box, bool(entry['iscrowd']))
    return found


def trip(tool: str, layout: str, python: str, root: Path, *, split: bool, boxes: bool) -> list[str]:
    """Lines of the table: the way there, and a way back for each export of the tool."""
    pictures = draw_pictures(root / 'shots', split)
    how = 'copy' if tool == 'supervision' else 'link'  # it reads no links that lead out of its folder
    label_folder(root / 'shots', root / 'out', lambda: Drawn(boxes), Order(layout, pictures=how))
    script = Path(__file__).with_name('theirs.py')
    command = [python, str(script), tool, str(root / 'out'), layout, str(root / 'back')]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return [f'| {tool} | {layout} | failed | {(done.stderr.strip().splitlines() or ["?"])[-1]} | | | |']
    answer = json.loads(done.stdout)
    truth = truth_of(pictures)
    lines = [_line(f'{tool} {answer["version"]}', f'{layout} →', theirs(answer, pictures), truth)]
    for export in sorted((root / 'back').iterdir()):
        name = f'← {export.name}'
        try:
            found = ours(export, root / f'made-{export.name}', pictures)
        except ConversionError as error:
            lines.append(f'| {tool} | {name} | refused: {error} | | | | |')
            continue
        lines.append(_line(tool, name, found, truth))
    return lines


def _line(tool: str, way: str, found: Objects, truth: Objects) -> str:
    exact, holes, boxes = found.same(truth)
    rings = sum(has_holes(mask) for masks in truth.masks.values() for mask in masks)
    masks = sum(map(len, truth.masks.values()))
    cells = [tool, way, f'{found.total} of {truth.total}', f'{exact} of {masks}', f'{holes} of {rings}']
    return f'| {" | ".join([*cells, f"{boxes} of {truth.total}", str(found.crowds)])} |'


def main(arguments: list[str] | None = None) -> None:
    """Words of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('work', type=Path, help='folder for pictures and exports; made anew')
    parser.add_argument('--python', nargs='+', required=True, metavar='TOOL=FILE', help='the interpreter of each tool')
    parser.add_argument('--split', action='store_true', help='pictures in train/ and val/')
    parser.add_argument('--boxes', action='store_true', help='boxes without masks')
    args = parser.parse_args(arguments)
    pythons = dict(entry.split('=', 1) for entry in args.python)
    print('| tool | way | objects | same pixels | of them with holes | same boxes | crowds |')
    print('|---|---|---|---|---|---|---|')
    for tool, layout in TRIPS:
        if tool not in pythons or (args.split and tool == 'supervision'):  # it knows no splits
            continue
        root = args.work.resolve() / f'{tool}-{layout}'
        shutil.rmtree(root, ignore_errors=True)
        for line in trip(tool, layout, pythons[tool], root, split=args.split, boxes=args.boxes):
            print(line)
            sys.stdout.flush()


if __name__ == '__main__':
    main()
