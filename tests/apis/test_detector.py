"""Detection of single pictures: the detector, its results, and ``denseclip detect``."""

import json

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image
from pycocotools import mask as coco_mask
from tiny_detectors import THINGS, detector_config, tiny_detector
from tiny_models import denseclip_config

import denseclip
from denseclip.apis.detection import Detections
from denseclip.apis.detector import Detector
from denseclip.apis.errors import UserError
from denseclip.cli.main import main
from denseclip.visualization.boxes import boxes_picture
from denseclip.weights import write_safetensors

PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(128, 96), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """Config and weights of a small detector of each kind, and a picture."""
    folder = tmp_path_factory.mktemp('detector')
    torch.manual_seed(0)
    made = {'picture': folder / 'picture.png'}
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 70, 3), np.uint8)).save(made['picture'])
    preprocessor = dict(type='DetDataPreprocessor', bgr_to_rgb=True, pad_size_divisor=32)
    for kind in ('retinanet', 'mask-rcnn'):
        config = Config(dict(model=detector_config(kind, data_preprocessor=preprocessor), default_scope='mmdet'))
        config.test_pipeline = PIPELINE
        config.dump(folder / f'{kind}.py')
        write_safetensors(tiny_detector(kind).state_dict(), folder / f'{kind}.safetensors')
        made[kind] = (folder / f'{kind}.py', folder / f'{kind}.safetensors')
    return made


@pytest.mark.parametrize('kind', ['retinanet', 'mask-rcnn'])
def test_objects_are_in_the_pictures_own_pixels(files, kind):
    found = Detector(*files[kind], device='cpu').detect(files['picture'], score=0.0)
    assert len(found) > 0 and found.names == tuple(THINGS) and found.source == files['picture']
    assert (np.diff(found.scores) <= 0).all()
    assert found.boxes.min() >= 0 and found.boxes[:, [0, 2]].max() <= 70 and found.boxes[:, [1, 3]].max() <= 50
    assert (found.masks is None) is (kind == 'retinanet')
    if found.masks is not None:
        assert found.masks.shape == (len(found), 50, 70) and found.masks.dtype == bool
    assert sum(found.counts().values()) == len(found)
    assert found.overlay().size == (70, 50)


def test_weights_that_know_the_classes_in_another_order_are_refused(files, tmp_path):
    config, weights = files['retinanet']
    other = tmp_path / 'trained.pth'
    state = tiny_detector('retinanet').state_dict()
    reordered = [name.upper() for name in THINGS[::-1]]
    for classes, refused in ((THINGS, False), (reordered, True), ([f'{name} of old' for name in THINGS], False)):
        torch.save({'state_dict': state, 'meta': {'dataset_meta': {'classes': tuple(classes)}}}, other)
        if refused:
            with pytest.raises(UserError, match=f'class 0 was trained as "{reordered[0]}" and is called "{THINGS[0]}"'):
                Detector(config, other, device='cpu')
        else:
            assert Detector(config, other, device='cpu').names == tuple(THINGS)


def answering(detector, change, monkeypatch):
    """The detector, with every sample of its model changed."""
    predict = detector.model.predict

    def changed(*args, **options):
        samples = predict(*args, **options)
        for sample in samples:
            change(sample)
        return samples

    monkeypatch.setattr(detector.model, 'predict', changed)
    return detector


def test_masks_without_boxes_get_those_around_them(files, monkeypatch):
    """SOLO and SOLOv2 give zeros for boxes."""
    detector = Detector(*files['mask-rcnn'], device='cpu')
    answering(detector, lambda sample: sample.pred_instances.bboxes.zero_(), monkeypatch)
    found = detector.detect(files['picture'], score=0.0)
    filled = [k for k, mask in enumerate(found.masks) if mask.any()]
    assert filled
    for k in filled:
        rows, columns = np.nonzero(found.masks[k])
        wanted = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_array_equal(found.boxes[k], wanted)


def test_a_model_of_segments_alone_says_so(files, monkeypatch):
    detector = answering(
        Detector(*files['retinanet'], device='cpu'), lambda sample: delattr(sample, 'pred_instances'), monkeypatch
    )
    with pytest.raises(UserError, match='instance_on=True'):
        detector.detect(files['picture'])


def test_the_shared_detector_and_the_threshold(files):
    every = denseclip.detect(files['picture'], *files['retinanet'], device='cpu', score=0.0)
    middle = float(np.median(every.scores))
    some = denseclip.detect(files['picture'], *files['retinanet'], device='cpu', score=middle)
    assert 0 < len(some) < len(every) and some.scores.min() >= middle
    array = np.asarray(Image.open(files['picture']))[..., ::-1]
    same = denseclip.detect(array, *files['retinanet'], device='cpu', score=middle, channel_order='bgr')
    np.testing.assert_allclose(same.boxes, some.boxes)


def detections(n=2, masks=True):
    area = np.zeros((n, 20, 30), bool)
    area[0, 2:9, 3:12] = True
    return Detections(
        boxes=np.array([[3, 2, 12, 9], [10, 5, 29, 19]], np.float32)[:n],
        labels=np.array([1, 0])[:n],
        scores=np.array([0.9, 0.25], np.float32)[:n],
        masks=area if masks else None,
        names=('cell', 'platelet'),
        palette=np.array([[255, 0, 0], [0, 0, 255]], np.uint8),
        image=np.zeros((20, 30, 3), np.uint8),
    )


def test_results_are_written_and_read_back(tmp_path):
    found = detections()
    picture, table = found.save(tmp_path, 'smear')
    content = json.loads(table.read_text())
    assert (content['width'], content['height'], content['classes']) == (30, 20, ['cell', 'platelet'])
    first = content['objects'][0]
    assert (first['class'], first['label'], first['box']) == ('platelet', 1, [3, 2, 12, 9])
    assert np.array_equal(coco_mask.decode(first['mask']).astype(bool), found.masks[0])
    assert Image.open(picture).size == (30, 20)
    with pytest.raises(UserError, match='earlier results'):
        found.save(tmp_path, 'smear')
    found.save(tmp_path, 'smear', force=True)


def test_above_and_an_empty_result():
    assert detections().above(0.5).counts() == {'platelet': 1}
    none = detections().above(0.95)
    assert len(none) == 0 and none.to_list() == [] and none.counts() == {}
    assert np.array_equal(np.asarray(none.overlay()), none.image)


def test_frames_and_masks_have_their_classes_colours():
    found = detections(1)
    image = np.full((60, 90, 3), 200, np.uint8)
    masks = np.zeros((1, 60, 90), bool)
    masks[0, 30:50, 20:60] = True
    drawn = np.asarray(
        boxes_picture(
            image, np.array([[20, 30, 59, 49]]), found.labels, found.scores, found.names, found.palette, masks
        )
    )
    assert tuple(drawn[49, 40]) == (0, 0, 255)  # the frame
    inside = drawn[40, 40].astype(int)
    assert inside[2] > inside[0] + 20  # the mask, translucent
    assert tuple(drawn[55, 80]) == (200, 200, 200)


def test_the_command(files, tmp_path, capsys):
    config, weights = files['mask-rcnn']
    options = ['--config', str(config), '--weights', str(weights), '--device', 'cpu', '--out', str(tmp_path / 'out')]
    assert main(['detect', str(files['picture']), *options, '--score', '0']) == 0
    assert 'objects' in capsys.readouterr().out
    assert sorted(p.name for p in (tmp_path / 'out').iterdir()) == ['picture_boxes.json', 'picture_boxes.png']
    assert main(['detect', str(files['picture']), *options]) == 2
    assert '--force' in capsys.readouterr().err
    assert main(['detect', str(files['picture']), *options, '--force', '--score', '3']) == 2
    assert 'between 0 and 1' in capsys.readouterr().err


def test_a_segmentor_is_no_detector(tmp_path):
    config = Config(dict(model=denseclip_config(), default_scope='mmseg', test_pipeline=[dict(type='PackSegInputs')]))
    with pytest.raises(UserError, match='DenseCLIP finds no boxes'):
        Detector(config, tmp_path / 'none.safetensors', 'cpu')


def test_weights_are_asked_for(files):
    with pytest.raises(UserError, match='no weights'):
        Detector(files['retinanet'][0], device='cpu')
