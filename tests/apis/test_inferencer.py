"""Pictures in, label maps in their own size out; words may change at any time, the model is loaded once."""

from unittest import mock

import cv2
import numpy as np
import pytest
import torch
from mmcv.transforms import Compose
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from PIL import Image
from tiny_models import CLASSES, denseclip_config, tiny_baseline, tiny_denseclip

import denseclip
from denseclip.apis import inferencer as module
from denseclip.apis.config import dataset_meta, inference_config, inference_steps
from denseclip.apis.errors import UserError
from denseclip.apis.images import UnreadableImageError
from denseclip.apis.inferencer import Inferencer, choose_device
from denseclip.apis.loading import forget_shared_model
from denseclip.clip.vocabulary import Vocabulary
from denseclip.visualization import distinct_palette
from denseclip.weights import WeightMismatchError, write_safetensors

STEPS = [dict(type='Resize', scale=(128, 64), keep_ratio=True), dict(type='PackSegInputs')]


def test_result_has_the_size_of_the_picture(inferencer, photo):
    result = inferencer.segment(photo)
    assert result.label_map.shape == (60, 90)
    assert result.label_map.dtype == np.uint8
    assert result.names == tuple(CLASSES)
    assert result.source == photo
    assert sum(area.pixels for area in result.areas()) == 60 * 90


def test_equal_to_evaluation(inferencer, photo, pipeline):
    """The picture takes the way that tools/test.py takes: same pipeline, same model call, same numbers."""
    init_default_scope('mmseg')
    transforms = Compose([step for step in pipeline if step['type'] != 'LoadAnnotations'])
    with torch.no_grad():
        sample = inferencer.model.test_step(pseudo_collate([transforms(dict(img_path=str(photo)))]))[0]
    np.testing.assert_array_equal(inferencer.segment(photo).label_map, sample.pred_sem_seg.data[0].numpy())


def test_file_pillow_and_bgr_array_are_one_picture(inferencer, photo):
    expected = inferencer.segment(photo).label_map
    for image in (str(photo), Image.open(photo), cv2.imread(str(photo))):
        np.testing.assert_array_equal(inferencer.segment(image, channel_order='bgr').label_map, expected)


@pytest.mark.parametrize('size', [(1, 1), (1, 300), (200, 3), (40, 12_000), (63, 65)])
def test_any_size(inferencer, size):
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    assert inferencer.segment(pixels).label_map.shape == size


def test_words_may_change(inferencer, photo):
    result = inferencer.segment(photo, 'temple; sky=heavens; trees')
    assert result.names == ('temple', 'sky', 'trees')
    assert result.label_map.max() < 3
    np.testing.assert_array_equal(result.palette, distinct_palette(3))
    assert inferencer.segment(photo, ['a {} name', 'sky']).names == ('a {} name', 'sky')
    assert inferencer.segment(photo).names == tuple(CLASSES) == inferencer.vocabulary.names
    inferencer.set_vocabulary(['a {} name', 'sky'])
    assert inferencer.segment(photo).names == ('a {} name', 'sky')
    assert inferencer.segment(photo, ['thing']).label_map.max() == 0


def test_text_is_encoded_once_per_vocabulary(inferencer, photo, monkeypatch):
    calls = []
    encode = inferencer.model.text_encoder.forward
    monkeypatch.setattr(inferencer.model.text_encoder, 'forward', lambda *a: calls.append(1) or encode(*a))
    for _ in range(3):
        inferencer.segment(photo, 'temple; sky')
    assert len(calls) == 1
    inferencer.segment(photo, 'temple; lake')
    assert len(calls) == 2


def test_background_prompts_are_one_more_label(inferencer, photo):
    words = Vocabulary.parse('sky', background='prompts', background_names=('wall', 'floor'))
    result = inferencer.segment(photo, words)
    assert result.names == ('sky', 'background')
    assert len(result.palette) == 2
    assert set(np.unique(result.label_map)) <= {0, 1}


def test_background_by_threshold_is_where_the_best_class_is_not_probable(inferencer, photo):
    plain = inferencer.segment(photo, 'sky; lake; temple', pixel_scores=True)
    best = plain.pixel_scores.max(axis=0)
    least = float(np.median(best))
    words = Vocabulary.parse('sky; lake; temple', background='threshold', threshold=least)
    for scores in (True, False):
        result = inferencer.segment(photo, words, scores=scores)
        assert result.names == ('sky', 'lake', 'temple', 'background')
        assert np.array_equal(result.label_map, np.where(best < least, 3, plain.label_map))


def test_other_backgrounds_are_refused_by_name(inferencer, photo):
    with pytest.raises(UserError, match='no background policy "clipn"'):
        inferencer.segment(photo, Vocabulary.parse('sky', background='clipn'))


def test_a_failed_change_keeps_the_words(inferencer):
    with pytest.raises(ValueError, match='duplicate'):
        inferencer.set_vocabulary('sky; sky')
    with pytest.raises(UserError, match='one two three'):
        inferencer.set_vocabulary('sky; one two three four five six seven eight')
    assert inferencer.vocabulary.names == tuple(CLASSES)


def test_the_paper_s_model_has_a_fixed_number_of_classes(photo, preprocessor):
    model = tiny_denseclip('any', data_preprocessor=preprocessor)
    closed = Inferencer.from_model(model, STEPS)
    with pytest.raises(UserError, match='built for 5 classes'):
        closed.segment(photo, 'sky; road')
    assert closed.segment(photo, 'a; b; c; d; e').names == ('a', 'b', 'c', 'd', 'e')
    with pytest.raises(UserError, match='by their places'):
        closed.segment(photo, '; '.join(CLASSES[::-1]))


def test_a_plain_model_keeps_its_classes_and_colours(photo, preprocessor):
    palette = [[k, k, k] for k in range(5)]
    model = tiny_baseline('any')
    model.data_preprocessor = tiny_denseclip('any', data_preprocessor=preprocessor).data_preprocessor
    plain = Inferencer.from_model(model, STEPS, dict(classes=CLASSES, palette=palette))
    result = plain.segment(photo)
    assert result.names == tuple(CLASSES)
    np.testing.assert_array_equal(result.palette, palette)
    with pytest.raises(UserError, match='training classes only .*wall'):
        plain.segment(photo, 'sky')


def test_without_resize_large_pictures_are_limited(inferencer, monkeypatch):
    seen = []
    free = Inferencer.from_model(inferencer.model, [dict(type='PackSegInputs')])
    forward = free.model.test_step
    monkeypatch.setattr(free.model, 'test_step', lambda b: seen.append(b['inputs'][0].shape) or forward(b))
    monkeypatch.setattr(free, '_limit', 96)
    assert free.segment(np.zeros((100, 200, 3), np.uint8)).label_map.shape == (100, 200)
    assert seen == [(3, 48, 96)]


def test_segment_loads_the_model_once(model_files, photo, monkeypatch):
    built = []
    monkeypatch.setattr(module, 'default_model', lambda: built.append(1) or model_files)
    forget_shared_model()
    assert denseclip.segment(photo, 'temple; sky', device='cpu').names == ('temple', 'sky')
    assert denseclip.segment(photo, device='cpu').names == tuple(CLASSES)
    assert len(built) == 1
    forget_shared_model()


def test_unreadable_picture(inferencer, tmp_path):
    with pytest.raises(UnreadableImageError, match='missing.jpg'):
        inferencer.segment(tmp_path / 'missing.jpg')


def test_wrong_checkpoint_names_the_difference(model_files, tmp_path):
    other = write_safetensors({'head.weight': torch.zeros(3)}, tmp_path / 'other.safetensors')
    with pytest.raises(WeightMismatchError, match=r'other.safetensors.*missing.*1 unexpected: head.weight'):
        Inferencer(model_files[0], other, device='cpu')


def test_what_is_missing_is_named(model_files, tmp_path):
    config, weights = model_files
    with pytest.raises(ValueError, match='nothing.py.*does not exist'):
        Inferencer(tmp_path / 'nothing.py', weights)
    with pytest.raises(UserError, match='no weights.*--weights'):
        Inferencer(config)
    with pytest.raises(UserError, match='without their model'):
        Inferencer(weights=weights)
    # Before the model is built, which takes a minute for a large one.
    with (
        mock.patch('mmengine.registry.Registry.build', side_effect=AssertionError('built for nothing')),
        pytest.raises(FileNotFoundError, match='gone.pth'),
    ):
        Inferencer(config, tmp_path / 'gone.pth', device='cpu')


def test_yaml_configs_run_nothing(tmp_path):
    path = tmp_path / 'config.yml'
    path.write_text(
        f'model: !!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ["{tmp_path}/ran"]]'
    )
    with pytest.raises(UserError, match='YAML configs can run code'):
        inference_config(path)
    assert not (tmp_path / 'ran').exists()


def test_configs_without_model_or_pipeline():
    with pytest.raises(UserError, match="no 'model'"):
        inference_config(dict(test_pipeline=[]))
    with pytest.raises(UserError, match='test_pipeline'):
        inference_steps(inference_config(dict(model=denseclip_config())))


def test_pipeline_and_classes_of_a_wrapped_data_set(pipeline):
    inner = dict(type='ADE20KDataset', pipeline=pipeline)
    cfg = inference_config(dict(model=dict(type='X'), test_dataloader=dict(dataset=dict(type='Repeat', dataset=inner))))
    assert [step['type'] for step in inference_steps(cfg)] == ['Resize', 'PackSegInputs']
    assert len(dataset_meta(cfg)['classes']) == 150
    inner['metainfo'] = dict(classes=('a', 'b'))
    cfg = inference_config(dict(model=dict(type='X'), test_dataloader=dict(dataset=inner)))
    assert dataset_meta(cfg)['classes'] == ('a', 'b')


def test_devices():
    assert choose_device('cpu') == torch.device('cpu')
    with pytest.raises(UserError, match="device 'gpu'.*--device cpu"):
        choose_device('gpu')
    if not torch.cuda.is_available():
        assert choose_device(None).type == 'cpu'
        with pytest.raises(UserError, match='no CUDA device'):
            choose_device('cuda:0')
