"""What every kind of result answers, in the same way: regions, dictionaries, files, and the forms of other tools."""

from __future__ import annotations

import base64
import io
import json
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import supervision
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from denseclip.apis.anomaly_calibration import Calibration
from denseclip.apis.anomaly_result import AnomalyResult
from denseclip.apis.detection import Detections
from denseclip.apis.errors import UserError
from denseclip.apis.panoptic import PanopticSegmentation
from denseclip.apis.results import fiftyone
from denseclip.apis.results.base import Result
from denseclip.apis.results.formats import FORMATS, KINDS, chosen_formats, endings, formats_of
from denseclip.apis.results.sheets import Place
from denseclip.apis.segmentation import Segmentation
from denseclip.clip.vocabulary import Vocabulary
from denseclip.datasets.own_data import recognise
from denseclip.datasets.own_data.data import Conversion
from denseclip.datasets.own_data.labelme import from_labelme, labelme_files
from denseclip.visualization import palette_for

SIZE = (40, 56)
WORDS = Vocabulary.of('road; traffic light=lamp; sky')


def blocks() -> np.ndarray:
    """A map of 1 (left, in two parts), 2 (a ring) and 0."""
    labels = np.zeros(SIZE, np.uint8)
    labels[2:12, 2:14] = 1
    labels[20:36, 3:9] = 1
    labels[8:30, 25:50] = 2
    labels[14:22, 32:40] = 0
    return labels


def segmentation(image: np.ndarray, source: Path | None) -> Segmentation:
    return Segmentation(blocks(), WORDS, palette_for(WORDS.names), image, source)


def panoptic(image: np.ndarray, source: Path | None) -> PanopticSegmentation:
    found = [(1, 1, True, 0.75), (2, 2, False, 0.5), (3, 1, True, 0.25)]
    ids = blocks().astype(np.int32)
    ids[20:36, 3:9] = 3
    info = [dict(id=i, category_id=k, isthing=thing, score=score) for i, k, thing, score in found]
    return PanopticSegmentation.of(ids, info, WORDS, palette_for(WORDS.names), image, source)


def detections(image: np.ndarray, source: Path | None, masks: bool = True) -> Detections:
    areas = np.stack([blocks() == 2, blocks() == 1])
    boxes = np.array([[25, 8, 50, 30], [2, 2, 14, 36]], np.float32)
    scores = np.array([0.9, 0.4], np.float32)
    labels = np.array([2, 0])
    return Detections(
        boxes, labels, scores, areas if masks else None, WORDS.names, palette_for(WORDS.names), image, source
    )


def anomaly(image: np.ndarray, source: Path | None) -> AnomalyResult:
    scores = np.where(blocks() > 0, 0.5 + blocks() / 10, 0.1).astype(np.float32)
    return AnomalyResult(scores, 0.7, image, source, Calibration(0.5, 0.1), Calibration(0.5, 0.1))


MAKERS = {'semantic': segmentation, 'panoptic': panoptic, 'instance': detections, 'anomaly': anomaly}
REGIONS = {'semantic': 3, 'panoptic': 3, 'instance': 2, 'anomaly': 3}


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


@pytest.fixture(params=KINDS)
def result(request: pytest.FixtureRequest, image: np.ndarray, tmp_path: Path) -> Any:
    (tmp_path / 'shots').mkdir()
    Image.fromarray(image).save(tmp_path / 'shots' / 'street.png')
    return MAKERS[request.param](image, tmp_path / 'shots' / 'street.png')


def expected(result: Result) -> list[np.ndarray]:
    """Masks of a result, told without its regions."""
    if isinstance(result, Segmentation):
        return [result.label_map == k for k in range(3)]
    if isinstance(result, PanopticSegmentation):
        return [result.ids == segment.id for segment in result.segments]
    if isinstance(result, Detections):
        assert result.masks is not None
        return list(result.masks)
    labels = blocks()
    first, second = labels == 1, labels == 1
    first[20:], second[:20] = False, False
    return [labels == 2, first, second]


def test_regions_and_what_every_result_has(result):
    regions = list(result.regions())
    assert isinstance(result, Result) and len(regions) == REGIONS[result.kind]
    assert {type(name) for name in result.names} == {str} and result.image.shape == (*SIZE, 3)
    assert result.overlay().mode == 'RGB'
    for region, mask in zip(regions, expected(result), strict=True):
        np.testing.assert_array_equal(region.mask, mask)
        rows, columns = np.nonzero(mask)
        assert region.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert region.area == mask.sum() and 0 <= region.label < len(result.names)
        assert region.score is None or 0 <= region.score <= 1


def test_dictionaries_are_json_and_hold_every_pixel(result):
    content = json.loads(json.dumps(result.to_dict()))
    assert (content['kind'], content['height'], content['width']) == (result.kind, *SIZE)
    assert content['source'] == str(result.source) and content['classes'] == list(result.names)
    for entry, mask in zip(content['objects'], expected(result), strict=True):
        np.testing.assert_array_equal(coco_mask.decode(entry['mask']).astype(bool), mask)
        assert entry['class'] == result.names[entry['label']] and entry['area'] == mask.sum()


@pytest.mark.parametrize('polygons', [False, True])
def test_coco_comes_back_through_pycocotools(result, tmp_path, polygons, capsys):
    (tmp_path / 'coco.json').write_text(json.dumps(result.to_coco(polygons)))
    data = COCO(str(tmp_path / 'coco.json'))
    capsys.readouterr()
    names = {category['id']: category['name'] for category in data.loadCats(data.getCatIds())}
    assert tuple(names.values()) == result.names
    regions = list(result.regions())
    for annotation, region, mask in zip(data.loadAnns(data.getAnnIds()), regions, expected(result), strict=True):
        np.testing.assert_array_equal(data.annToMask(annotation).astype(bool), mask)
        assert names[annotation['category_id']] == result.names[region.label]
        x, y, width, height = annotation['bbox']
        assert (x, y, x + width, y + height) == region.box
        assert isinstance(annotation['segmentation'], dict) or polygons
    assert polygons <= any(isinstance(a['segmentation'], list) for a in data.loadAnns(data.getAnnIds()))


@pytest.mark.parametrize('tolerance', [0.0, 1.0])
def test_labelme_comes_back_through_our_reader(result, tmp_path, tolerance):
    folder = tmp_path / 'shots'
    content = result.to_labelme(beside=folder, tolerance=tolerance)
    assert content['imagePath'] == 'street.png'
    for name in ('street', 'again'):  # a data set has at least two pictures
        (folder / f'{name}.png').write_bytes(result.source.read_bytes())
        (folder / f'{name}.json').write_text(json.dumps({**content, 'imagePath': f'{name}.png'}))
    data = from_labelme(folder, labelme_files(folder), Conversion(folder, tmp_path / 'made'))
    assert not any('left out' in note for note in data.notes)
    coco = COCO(str(data.splits['train'].ann_file))
    names = {category['id']: category['name'] for category in coco.loadCats(coco.getCatIds())}
    found = [(names[a['category_id']], coco.annToMask(a).astype(bool)) for a in coco.loadAnns(coco.getAnnIds())]
    assert len(found) == REGIONS[result.kind]
    for region, mask in zip(result.regions(), expected(result), strict=True):
        same = [other for name, other in found if name == result.names[region.label] and (other & mask).any()]
        overlap = max((other & mask).sum() / (other | mask).sum() for other in same)
        assert overlap == 1.0


def test_a_picture_from_memory_lies_inside_the_file_of_labelme(image):
    for make in MAKERS.values():
        content = make(image, None).to_labelme()
        assert content['imageData'] and content['imagePath'] == 'picture.png'


def test_boxes_alone_are_rectangles(image):
    found = detections(image, None, masks=False)
    assert [shape['points'] for shape in found.to_labelme()['shapes']] == [[[25, 8], [50, 30]], [[2, 2], [14, 36]]]
    assert all('segmentation' not in annotation for annotation in found.to_coco()['annotations'])
    assert found.to_coco()['annotations'][0]['area'] == 25 * 22
    assert all('mask' not in entry for entry in found.to_dict()['objects'])


def test_supervision_has_boxes_masks_and_names(result):
    found = result.to_supervision()
    assert isinstance(found, supervision.Detections) and len(found) == REGIONS[result.kind]
    np.testing.assert_array_equal(found.mask, np.stack(expected(result)))
    np.testing.assert_array_equal(found.xyxy, [region.box for region in result.regions()])
    assert list(found.data['class_name']) == [result.names[label] for label in found.class_id]
    scores = [region.score for region in result.regions()]
    assert found.confidence is None if None in scores else np.allclose(found.confidence, scores)


@pytest.mark.parametrize('name', ['cvat', 'datumaro', 'label-studio'])
def test_files_of_tools_come_back_through_our_readers(result, tmp_path, name):
    """The picture beside the file, as the tools want it; a data set has at least two pictures."""
    place, layout = tmp_path / 'set', {'cvat': '{}.xml', 'datumaro': 'annotations/{}.json'}.get(name, '{}.json')
    for split in ('train', 'val'):
        picture = place / ('images' if name == 'datumaro' else '') / split / 'street.png'
        path = place / layout.format(f'{split}/x' if name == 'cvat' else split)
        for made in (picture, path):
            made.parent.mkdir(parents=True, exist_ok=True)
        picture.write_bytes(result.source.read_bytes())
        content = formats_of(result.kind)[name].content(result, Place(name=f'{split}/street.png'))
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    data = recognise(place, converted=tmp_path / 'made')
    coco = COCO(str(data.splits['train'].ann_file))
    names = {category['id']: category['name'] for category in coco.loadCats(coco.getCatIds())}
    found = coco.loadAnns(coco.getAnnIds())
    for annotation, region, mask in zip(found, result.regions(), expected(result), strict=True):
        assert names[annotation['category_id']] == result.names[region.label]
        np.testing.assert_array_equal(coco.annToMask(annotation).astype(bool), mask)


def test_names_that_no_xml_can_hold_are_escaped(image):
    found = replace(segmentation(image, Path('a\x01b.png')), vocabulary=Vocabulary.of(['a\x02', 'b\ufffe', '<c>']))
    root = ET.fromstring(found.to_cvat())
    assert [name.text for name in root.iter('name')] == ['a\\x02', 'b\\ufffe', '<c>']
    assert root.find('image').get('name').endswith('a\\x01b.png')


def test_a_picture_from_memory_lies_inside_a_task_of_label_studio(image):
    [task] = segmentation(image, None).to_label_studio()
    kind, _, data = task['data']['image'].partition(',')
    assert kind == 'data:image/png;base64'
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))), image)


def test_labels_of_fiftyone_paste_to_the_same_pixels(result):
    for region, mask in zip(result.regions(), expected(result), strict=True):
        entry = fiftyone.detection(region, result.names, SIZE)
        assert entry['label'] == result.names[region.label] and entry.get('confidence') == pytest.approx(region.score)
        x, y, width, height = np.multiply(entry['bounding_box'], [SIZE[1], SIZE[0]] * 2).round().astype(int)
        whole = np.zeros(SIZE, bool)
        whole[y : y + height, x : x + width] = entry['mask']
        np.testing.assert_array_equal(whole, mask)


def test_an_object_without_pixels_is_a_box_for_fiftyone(image):
    found = detections(image, None)
    found.masks[1] = False
    first, second = (fiftyone.detection(region, found.names, SIZE) for region in found.regions())
    assert first['mask'].any() and 'mask' not in second
    np.testing.assert_allclose(second['bounding_box'], np.divide([2, 2, 12, 34], [SIZE[1], SIZE[0]] * 2))


def test_paths_lead_to_the_picture_where_folders_are_links(result, tmp_path):
    (tmp_path / 'real/deep').mkdir(parents=True)
    (tmp_path / 'out').symlink_to(tmp_path / 'real/deep')
    (tmp_path / 'a/b').mkdir(parents=True)
    (tmp_path / 'a/b/pics').symlink_to(tmp_path / 'shots')
    result = replace(result, source=tmp_path / 'a/b/pics/street.png')
    for out in ('out', 'out/further', 'new'):
        result.save(tmp_path / out, formats='labelme')
        said = json.loads((tmp_path / out / 'street_labelme.json').read_text())['imagePath']
        assert (tmp_path / out / said).samefile(tmp_path / 'shots/street.png') and said.endswith('street.png')


def test_without_fiftyone_the_package_is_named(result, monkeypatch):
    monkeypatch.setitem(sys.modules, 'fiftyone', None)
    with pytest.raises(ImportError, match='pip install fiftyone'):
        result.to_fiftyone()


def test_supervision_comes_back(result):
    if result.kind == 'anomaly':
        assert not hasattr(AnomalyResult, 'from_supervision')
        return
    found = result.to_supervision()
    back = type(result).from_supervision(found, result.image, source=result.source)
    assert back.names == result.names and back.source == result.source
    for ours, theirs in zip(result.regions(), back.regions(), strict=True):
        assert (ours.label, ours.box, ours.is_thing) == (theirs.label, theirs.box, theirs.is_thing)
        assert ours.score == theirs.score or ours.score is None
        np.testing.assert_array_equal(ours.mask, theirs.mask)


def test_what_supervision_changed_comes_back(image):
    found = panoptic(image, None).to_supervision()
    kept = PanopticSegmentation.from_supervision(found[found.confidence > 0.3], image)
    assert [segment.score for segment in kept.segments] == [0.75, 0.5] and kept.names == WORDS.names
    both = supervision.Detections.merge([found, found])
    assert len(Detections.from_supervision(both, image)) == 6
    semantic = Segmentation.from_supervision(found[found.class_id == 2], image)
    assert semantic.names == (*WORDS.names, 'nothing') and (semantic.label_map == 2).sum() == (blocks() == 2).sum()
    named = Segmentation.from_supervision(found, image, words=WORDS)
    assert named.vocabulary is WORDS


def test_what_cannot_come_back_is_told(image):
    boxes = detections(image, None, masks=False).to_supervision()
    with pytest.raises(UserError, match='boxes without masks'):
        Segmentation.from_supervision(boxes, image)
    with pytest.raises(UserError, match='has the class 2|the class 2, but there are 1 names'):
        Detections.from_supervision(boxes, image, names=['road'])
    with pytest.raises(UserError, match='the picture of'):
        Detections.from_supervision(detections(image, None).to_supervision(), image[:20])
    bare = supervision.Detections(xyxy=np.array([[0, 0, 4, 4]], np.float32))
    with pytest.raises(UserError, match='no class_id'):
        Detections.from_supervision(bare, image)


def test_without_supervision_the_extra_is_named(result, monkeypatch):
    monkeypatch.setitem(sys.modules, 'supervision', None)
    with pytest.raises(ImportError, match=r'denseclip-suite\[supervision\]'):
        result.to_supervision()


def test_nothing_found_is_no_error(image):
    nothing = detections(image, None).above(0.95)
    assert nothing.to_dict()['objects'] == nothing.to_coco()['annotations'] == nothing.to_labelme()['shapes'] == []
    assert len(nothing.to_supervision()) == 0


def test_every_format_of_the_table_is_written(result, tmp_path):
    known = formats_of(result.kind)
    files = result.save(tmp_path / 'out', formats=','.join(known))
    assert [file.name for file in files] == [f'street{row.ending}' for row in known.values()]
    assert all(file.stat().st_size for file in files)
    assert json.loads((tmp_path / 'out' / 'street_result.json').read_text()) == json.loads(json.dumps(result.to_dict()))
    said = json.loads((tmp_path / 'out' / 'street_labelme.json').read_text())['imagePath']
    assert (tmp_path / 'out' / said).resolve() == result.source.resolve()


def test_formats_are_chosen(result, tmp_path):
    usual = [file.name for file in result.save(tmp_path / 'usual')]
    assert usual == ['street' + ending for ending in endings(result.kind)]
    assert [file.name for file in result.save(tmp_path / 'one', 'x', formats='coco')] == ['x_coco.json']
    both = result.save(tmp_path / 'both', formats=['coco', 'usual'])
    assert [file.name for file in both] == [*usual, 'street_coco.json']
    for wrong in ('cocoo', '', []):
        with pytest.raises(UserError, match="did you mean 'coco'|no format is named"):
            result.save(tmp_path / 'none', formats=wrong)
    assert not (tmp_path / 'none').exists()
    with pytest.raises(UserError, match='earlier results'):
        result.save(tmp_path / 'one', 'x', formats='coco')


def test_names_and_endings_of_a_kind_are_distinct():
    for kind in KINDS:
        rows = [row for row in FORMATS if kind in row.kinds]
        assert len({row.name for row in rows}) == len({row.ending for row in rows}) == len(rows)
        assert chosen_formats(kind) and set(chosen_formats(kind)) <= set(rows)
