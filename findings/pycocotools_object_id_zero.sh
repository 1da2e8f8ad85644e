#!/usr/bin/env bash
# pycocotools 2.0.11: an object with the id 0 is never found, however well it is detected.
#
# COCOeval writes the id of the matched object into dtMatches and takes 0 for "no match". COCO's format allows any
# integer, and tools that number from 0 write valid files: there, one object of the file always counts as missed and its
# detection as false. Perfect detections of two objects score AP 0.252 instead of 1.000. (Number objects from 1.)
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q 'numpy<3' pycocotools==2.0.11
"$folder/venv/bin/python" - <<'PY'
import contextlib, io, json, sys
from importlib.metadata import version
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

def ap(first):
    boxes = [[0, 0, 40, 40], [50, 50, 40, 40]]
    objects = [dict(id=first + k, image_id=1, category_id=1, bbox=b, area=1600, iscrowd=0) for k, b in enumerate(boxes)]
    truth = COCO()
    truth.dataset = dict(images=[dict(id=1, width=100, height=100)], annotations=objects, categories=[dict(id=1, name='a')])
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        found = truth.loadRes([dict(image_id=1, category_id=1, bbox=b, score=1.0) for b in boxes])
        result = COCOeval(truth, found, 'bbox')
        result.evaluate(); result.accumulate(); result.summarize()
    return round(float(result.stats[0]), 3)

from_one, from_zero = ap(1), ap(0)
print(f'pycocotools {version("pycocotools")}: perfect detections, AP with ids from 1: {from_one:.3f}, from 0: {from_zero:.3f}')
sys.exit(0 if from_one == 1.0 and from_zero < 1.0 else 'this has changed')
PY
