"""Painted predictions: one flat picture per photograph, whatever the model's results are."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData, PixelData
from mmseg.structures import SegDataSample
from PIL import Image
from torch import nn

from denseclip.clip.vocabulary import Vocabulary
from denseclip.engine.config import OptionError
from denseclip.engine.hooks import PaintedResultsHook
from denseclip.structures import AnomalyDataSample
from denseclip.visualization.palette import BACKGROUND_COLOR

NAMES = ('background', 'aeroplane', 'a class with quite a long name')
DARK = [[0, 0, 0], [64, 0, 0], [0, 0, 64]]


class Pictures:
    """A data set as far as it is looked at."""

    def __init__(self, paths, **metainfo):
        self.paths, self.metainfo = paths, metainfo

    def __len__(self):
        return len(self.paths)

    def get_data_info(self, index):
        return {'img_path': str(self.paths[index])}


@pytest.fixture
def photos(tmp_path):
    paths = [tmp_path / 'left/a.png', tmp_path / 'right/a.png', tmp_path / 'b.jpg']
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        Image.new('RGB', (90, 60), (120, 130, 140)).save(path)
    return paths


@pytest.fixture
def paint(photos, tmp_path):
    """Paint samples; gives the pictures by name."""

    def call(samples, model=None, **metainfo):
        dataset = Pictures(photos, **(metainfo or {'classes': NAMES, 'palette': DARK}))
        runner = SimpleNamespace(test_dataloader=SimpleNamespace(dataset=dataset), model=model or nn.Identity())
        hook = PaintedResultsHook(tmp_path / 'painted')
        hook.before_test(runner)
        hook.after_test_iter(runner, 0, None, samples)
        return {p.name: np.asarray(Image.open(p)) for p in sorted((tmp_path / 'painted').iterdir())}

    return call


def semantic(path, labels):
    sample = SegDataSample(metainfo=dict(img_path=str(path)))
    sample.pred_sem_seg = PixelData(data=torch.as_tensor(labels)[None])
    return sample


def halves():
    labels = np.zeros((60, 90), np.int64)
    labels[:, 45:] = 1
    return labels


def test_label_maps_are_flat_and_told_apart(paint, photos):
    found = paint([semantic(path, halves()) for path in photos])
    assert list(found) == ['b.png', 'left_a.png', 'right_a.png']
    for picture in found.values():
        assert picture.shape[0] >= 240 and picture.shape[1] > picture.shape[0]  # enlarged, with a legend


def test_dark_colours_of_a_data_set_are_not_painted(paint, photos):
    picture = paint([semantic(photos[2], halves())])['b.png']
    grey, red = picture[20, 20].astype(int), picture[20, 340].astype(int)
    assert np.abs(grey - (np.array([120, 130, 140]) + BACKGROUND_COLOR) / 2).max() < 3
    assert red[0] > red[1] + 20 and red.sum() > 200


def test_names_are_those_of_the_model(paint, photos):
    model = nn.Identity()
    model.vocabulary = Vocabulary.parse('sky', background='prompts', background_names=('rest',))
    model.dataset_meta = {'classes': ('sky', 'background')}
    assert list(paint([semantic(photos[2], halves())], model)) == ['b.png']


def test_segments_and_instances(paint, photos):
    panoptic = SegDataSample(metainfo=dict(img_path=str(photos[0])))
    ids = torch.zeros(1, 60, 90, dtype=torch.int32)
    ids[:, :30], ids[:, 40:] = 7, 3
    info = [dict(id=3, category_id=1, isthing=True), dict(id=7, category_id=2, isthing=False)]
    panoptic.pred_panoptic_seg = PixelData(data=ids, metainfo=dict(segments_info=info))
    masks = torch.zeros(2, 60, 90, dtype=torch.bool)
    masks[:, 10:30, 10:40] = True
    objects = InstanceData(
        bboxes=torch.tensor([[10.0, 10, 40, 30], [0, 0, 5, 5]]), labels=torch.tensor([1, 2]), masks=masks
    )
    objects.scores = torch.tensor([0.9, 0.1])
    instances = SegDataSample(metainfo=dict(img_path=str(photos[1])))
    instances.pred_instances = objects
    boxes = DetDataSample(metainfo=dict(img_path=str(photos[2])))
    boxes.pred_instances = objects
    found = paint([panoptic, instances, boxes])
    assert list(found) == ['b.jpg', 'left_a.png', 'right_a.png']
    assert found['b.jpg'].shape == found['right_a.png'].shape == (60, 90, 3)


def test_pictures_follow_the_size_of_the_result(paint, photos):
    small = paint([semantic(photos[2], np.zeros((400, 600), np.int64))])['b.png']
    assert small.shape[0] >= 400


def test_anomaly_maps(paint, photos):
    sample = AnomalyDataSample(metainfo=dict(img_path=str(photos[2])))
    scores = torch.full((1, 60, 90), 0.49)
    scores[:, 10:20, 10:20] = 0.51
    sample.anomaly_map, sample.pred_score = PixelData(data=scores), 0.51
    found = paint([sample])['b.png']
    assert found.shape == (60, 90, 3)
    assert found[15, 15].tolist() != found[50, 80].tolist() == [120, 130, 140]


def test_results_that_cannot_be_drawn_are_named(paint, photos):
    with pytest.raises(OptionError, match='Identity gives no results that can be drawn'):
        paint([SegDataSample(metainfo=dict(img_path=str(photos[2])))])


def test_windows(photos, monkeypatch):
    shown = []
    visualizer = SimpleNamespace(show=lambda drawn, **more: shown.append((drawn.shape, more)))
    dataset = Pictures(photos, classes=NAMES, palette=DARK)
    runner = SimpleNamespace(
        test_dataloader=SimpleNamespace(dataset=dataset), model=nn.Identity(), visualizer=visualizer
    )
    hook = PaintedResultsHook(show=True, wait_time=2)
    hook.before_test(runner)
    hook.after_test_iter(runner, 0, None, [semantic(photos[2], halves())])
    assert shown[0][1] == {'win_name': 'b.jpg', 'wait_time': 2}
