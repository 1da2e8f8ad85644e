"""The tools' side: run by the interpreter that has the tool, which needs nothing of the suite.

    python theirs.py TOOL FOLDER LAYOUT OUT

reads the labelled FOLDER with the tool, prints its version and what it sees as JSON, and writes the tool's own exports
below OUT. The first object of each picture is marked as a crowd before, where the tool knows crowds.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np


def runs(mask: np.ndarray) -> list[int]:
    """Run lengths row by row, background first."""
    flat = np.asarray(mask, bool).ravel()
    edges = np.flatnonzero(np.diff(flat.astype(np.int8))) + 1
    lengths = np.diff([0, *edges.tolist(), flat.size]).tolist()
    return [0, *lengths] if flat[0] else lengths


def seen(picture: str, name: str, mask: Any, box: Any, score: Any = None) -> dict[str, Any]:
    """An object as the tool has it; boxes are corners."""
    return {
        'picture': picture,
        'name': name,
        'mask': None if mask is None else {'size': list(np.shape(mask)), 'runs': runs(mask)},
        'box': None if box is None else [float(value) for value in box],
        'score': None if score is None else float(score),
    }


def datumaro(folder: Path, layout: str, out: Path) -> Iterator[dict[str, Any]]:
    """Datumaro reads its own layout, CVAT's XML and others, and writes them."""
    from datumaro.components.annotation import AnnotationType, Bbox, Mask, Polygon
    from datumaro.components.dataset import Dataset
    from pycocotools import mask as rle

    data = Dataset.import_from(str(folder), layout)
    names = [label.name for label in data.categories()[AnnotationType.label]]
    for item in data:
        path = Path(item.media.path)
        height, width = item.media.size
        groups: dict[Any, list[Any]] = {}
        for place, entry in enumerate(item.annotations):
            groups.setdefault((entry.group or f'alone {place}', entry.label), []).append(entry)
        for (_, label), parts in groups.items():
            whole, box = None, None
            for entry in parts:
                if isinstance(entry, Mask):
                    found = entry.image > 0
                elif isinstance(entry, Polygon):
                    found = rle.decode(rle.merge(rle.frPyObjects([entry.points], height, width))) > 0
                elif isinstance(entry, Bbox):
                    x, y, w, h = entry.get_bbox()
                    box = (x, y, x + w, y + h)
                    continue
                whole = found if whole is None else whole | found
            yield seen(str(path.resolve()), names[label], whole, box, parts[0].attributes.get('score'))
        if item.annotations:
            item.annotations[0].attributes['is_crowd'] = True
    for name in ('datumaro', 'cvat', 'coco_instances'):
        data.export(str(out / name), name, save_media=True)


def label_studio(folder: Path, layout: str, out: Path) -> Iterator[dict[str, Any]]:
    """Label Studio's SDK checks tasks against the project, decodes brushes, and converts.

    Annotations are predictions that somebody accepted, as its server writes them.
    """
    from label_studio_sdk.converter import Converter
    from label_studio_sdk.converter.brush import decode_rle, encode_rle
    from label_studio_sdk.label_interface import LabelInterface
    from PIL import Image, ImageDraw

    del layout
    config = (folder / 'label_config.xml').read_text(encoding='utf-8')
    tasks = json.loads((folder / 'tasks.json').read_text(encoding='utf-8'))
    interface = LabelInterface(config)
    interface.validate()
    exported = []
    for number, task in enumerate(tasks, start=1):
        if not interface.validate_task({'data': task['data']}):
            raise ValueError(f'a task that the project does not take: {task["data"]}')
        faults = [
            fault for one in task['predictions'] for fault in interface.validate_prediction(one, return_errors=True)
        ]
        if faults:
            raise ValueError(f'a prediction that the project does not take: {faults}')
        picture = str((folder / _local(task['data']['image'])).resolve())
        results = []
        for entry in task['predictions'][0]['result']:
            height, width = entry['original_height'], entry['original_width']
            value, kind = entry['value'], entry['type']
            mask = box = None
            if kind == 'brushlabels':
                planes = decode_rle(value['rle']).reshape(height, width, 4)
                mask = planes[:, :, 3] > 0
                value = {**value, 'rle': encode_rle(planes.ravel())}  # as the tool writes it
            elif kind == 'polygonlabels':
                mask = _filled(Image, ImageDraw, value['points'], (height, width))
            else:
                x, y = value['x'] * width / 100, value['y'] * height / 100
                box = (x, y, x + value['width'] * width / 100, y + value['height'] * height / 100)
            yield seen(picture, value[kind][0], mask, box, entry.get('score'))
            results.append({**entry, 'value': value, 'origin': 'prediction-changed'})
        done = {'id': number, 'result': results, 'was_cancelled': False, 'ground_truth': False, 'completed_by': 1}
        exported.append({'id': number, 'data': task['data'], 'annotations': [done], 'predictions': []})
    own = out / 'JSON'
    own.mkdir(parents=True)
    (own / 'project-1.json').write_text(json.dumps(exported), encoding='utf-8')
    converter = Converter(config, str(out), download_resources=False)
    converter.convert_to_json_min(str(own / 'project-1.json'), str(out / 'JSON_MIN'), is_dir=False)
    for name in ('JSON', 'JSON_MIN'):
        (out / name / 'images').symlink_to(folder / 'images')


def _local(address: str) -> str:
    from urllib.parse import parse_qs, urlsplit

    return parse_qs(urlsplit(address).query)['d'][0]


def _filled(image: Any, draw: Any, points: list[list[float]], size: tuple[int, int]) -> np.ndarray:
    """Pixels whose centres lie in a polygon; drawn at eight times the size, so that edges are told apart."""
    height, width = size
    canvas = image.new('1', (8 * width, 8 * height))
    corners = [(8 * x * width / 100 - 0.5, 8 * y * height / 100 - 0.5) for x, y in points]
    draw.Draw(canvas).polygon(corners, fill=1)
    return np.asarray(canvas)[4::8, 4::8]


def fiftyone(folder: Path, layout: str, out: Path) -> Iterator[dict[str, Any]]:
    """FiftyOne's importer reads COCO's layout; its labels are written as its own exporter does, without a database."""
    os.environ |= {'FIFTYONE_DO_NOT_TRACK': 'true', 'FIFTYONE_DATABASE_URI': 'mongodb://127.0.0.1:1'}
    import fiftyone as fo
    import fiftyone.utils.coco as coco
    from bson import json_util

    del layout
    samples = []
    for labels in sorted(folder.rglob('labels.json')):
        importer = coco.COCODetectionDatasetImporter(
            dataset_dir=str(labels.parent), label_types='segmentations' if _masked(labels) else 'detections'
        )
        importer.setup()
        tags = [labels.parent.name] if labels.parent != folder else []
        for path, metadata, found in importer:
            size = (metadata.height, metadata.width)
            for entry in found.detections:
                x, y, w, h = entry.bounding_box
                left, top = round(x * size[1]), round(y * size[0])
                mask = None
                if entry.mask is not None:
                    mask = np.zeros(size, bool)
                    mask[top : top + entry.mask.shape[0], left : left + entry.mask.shape[1]] = entry.mask > 0
                box = (x * size[1], y * size[0], (x + w) * size[1], (y + h) * size[0])
                yield seen(str(Path(path).resolve()), entry.label, mask, box, entry.confidence)
            if found.detections:
                found.detections[0]['iscrowd'] = 1
            sample = fo.Sample(path, tags=tags, metadata=metadata)
            sample['ground_truth'] = found
            samples.append(sample.to_mongo_dict(include_id=True))
    own = out / 'FiftyOneDataset'
    (own / 'data').mkdir(parents=True)
    for number, sample in enumerate(samples):
        name = f'{number}-{Path(sample["filepath"]).name}'
        (own / 'data' / name).symlink_to(sample['filepath'])
        sample['filepath'] = f'data/{name}'
    (own / 'samples.json').write_text(json_util.dumps({'samples': samples}), encoding='utf-8')
    (own / 'metadata.json').write_text(json.dumps({'name': 'study', 'version': fo.__version__}), encoding='utf-8')


def _masked(labels: Path) -> bool:
    return any('segmentation' in entry for entry in json.loads(labels.read_text())['annotations'])


def supervision(folder: Path, layout: str, out: Path) -> Iterator[dict[str, Any]]:
    """Supervision reads COCO, YOLO and VOC, and writes COCO."""
    import supervision as sv

    images = folder / ('JPEGImages' if layout == 'voc' else 'images')
    if layout == 'coco':
        data = sv.DetectionDataset.from_coco(str(images), str(folder / 'annotations/instances.json'), force_masks=True)
    elif layout == 'yolo':
        data = sv.DetectionDataset.from_yolo(
            str(images), str(folder / 'labels'), str(folder / 'data.yaml'), force_masks=True
        )
    else:
        data = sv.DetectionDataset.from_pascal_voc(str(images), str(folder / 'Annotations'))
    for path, _, found in data:
        for place in range(len(found)):
            mask = None if found.mask is None else found.mask[place]
            labels = np.asarray(found.class_id)
            name = data.classes[labels[place]]
            yield seen(str(Path(path).resolve()), name, mask, found.xyxy[place])
    (out / 'coco').mkdir(parents=True)
    data.as_coco(str(out / 'coco/images'), str(out / 'coco/annotations/instances.json'))


TOOLS = {
    'datumaro': (datumaro, 'datumaro'),
    'label-studio': (label_studio, 'label-studio-sdk'),
    'fiftyone': (fiftyone, 'fiftyone'),
    'supervision': (supervision, 'supervision'),
}


def main() -> None:
    """See the module."""
    tool, folder, layout, out = sys.argv[1:]
    answers = os.fdopen(os.dup(1), 'w', encoding='utf-8')
    os.dup2(2, 1)
    run, package = TOOLS[tool]
    found = list(run(Path(folder), layout, Path(out)))
    json.dump({'version': version(package), 'objects': found}, answers)


if __name__ == '__main__':
    main()
