#!/usr/bin/env bash
# supervision 0.31.2: a data set that is read from COCO's format and written to it again loses holes and a pixel at edges.
#
# from_coco keeps iscrowd=0 in the data of the detections, and as_coco then writes polygons whatever the mask looks like:
# outlines without holes, through the middle of the outermost pixels. A ring of 300 pixels in run lengths comes back as a
# filled square of 361, which nothing says. (from_coco(..., use_iscrowd=False) writes masks with holes as run lengths,
# marked iscrowd=1, by which trainings leave objects out.)
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q 'numpy<3' pillow supervision==0.31.2 pycocotools==2.0.11
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import json, sys
from importlib.metadata import version
from pathlib import Path
import numpy as np, supervision as sv
from PIL import Image
from pycocotools import mask as rle

Path('in').mkdir()
Image.new('RGB', (60, 40)).save('in/a.png')
ring = np.zeros((40, 60), np.uint8, order='F')
ring[5:25, 10:30] = 1
ring[10:20, 15:25] = 0
code = rle.encode(ring)
code = {'size': [40, 60], 'counts': code['counts'].decode()}
thing = dict(id=1, image_id=1, category_id=1, bbox=[10, 5, 20, 20], area=300, iscrowd=0, segmentation=code)
image = dict(id=1, file_name='a.png', width=60, height=40)
Path('in.json').write_text(json.dumps(dict(images=[image], annotations=[thing], categories=[dict(id=1, name='ring')])))
data = sv.DetectionDataset.from_coco('in', 'in.json', force_masks=True)
(_, _, found), = data
data.as_coco(annotations_path='out.json')
back, = json.loads(Path('out.json').read_text())['annotations']
polygons = back['segmentation']
after = int(rle.area(rle.merge(rle.frPyObjects(polygons, 40, 60)))) if isinstance(polygons, list) else 300
print(f'supervision {version("supervision")}: read {int(found.mask.sum())} pixels, wrote {after}, iscrowd {back["iscrowd"]}')
sys.exit(0 if int(found.mask.sum()) == 300 and after != 300 else 'this has changed')
PY
