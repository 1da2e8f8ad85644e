"""A two-stage model exported: masks and the CLIP that looks at pictures of them, words free, without torch."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from export_pictures import picture
from PIL import Image
from tiny_ovseg import Pyramid, tiny_ovseg

from denseclip.apis.errors import UserError
from denseclip.apis.inferencer import Inferencer
from denseclip.export import capability, export
from denseclip.export.checks import check_image_graph, check_region_graph
from denseclip.export.formats import FORMATS
from denseclip.export.precision import Lowered, calibration_feeds
from denseclip.export.region_graphs import RegionGraph
from denseclip.models.functional.region_crops import crop_regions
from denseclip.runtime import load
from denseclip.runtime.kinds import Regions
from denseclip.runtime.region_crops import cut_out, relative

SIZES = [(64, 96), (97, 131), (200, 90), (33, 257), (12, 9), (20, 400)]
WORDS = 'grass; sky = heaven, cloud; a red car; dog'
OPENVINO = FORMATS['openvino']
STEPS = [dict(type='PillowResizeShortSide', short_side=80, max_long_side=130), dict(type='PackSegInputs')]


@pytest.fixture(scope='module')
def model():
    """OVSeg in all its parts behind the smallest of backbones."""
    tiny = tiny_ovseg(Pyramid(), decode_head=dict(decoder_layers=1, num_queries=5), selection='best', merge='max')
    return Inferencer.from_model(tiny, STEPS)


@pytest.fixture(scope='module')
def runtime(model, tmp_path_factory):
    return load(export(model, tmp_path_factory.mktemp('regions')))


@pytest.mark.slow
@pytest.mark.parametrize('size', SIZES)
def test_labels_are_those_of_pytorch(model, runtime, size):
    wanted, found = (one.segment(picture(size), WORDS) for one in (model, runtime))
    assert (found.names, found.label_map.dtype) == (wanted.names, wanted.label_map.dtype)
    assert (found.label_map != wanted.label_map).mean() <= 1e-3
    np.testing.assert_allclose(found.scores, wanted.scores, atol=1e-4)
    assert (found.score_kind, found.decided_by) == (wanted.score_kind, wanted.decided_by)
    assert found.decided_by


@pytest.mark.slow
@pytest.mark.parametrize('settings', [dict(selection='all'), dict(stages='second'), dict(ensemble_weight=0.2)])
def test_settings_of_the_model_are_those_of_the_runtime(model, runtime, settings, monkeypatch):
    names = {'ensemble_weight': 'weight'}
    for name, value in settings.items():
        monkeypatch.setattr(model.model, name, value)
    rule = Regions(
        **{**vars(runtime.manifest.rule), **{names.get(name, name): value for name, value in settings.items()}}
    )
    monkeypatch.setattr(runtime, 'manifest', replace(runtime.manifest, rule=rule))
    words = {'classes': ['sky', 'tree', 'dog'], 'background': 'learned'}
    options = dict(pixel_scores=True, min_area=0.1)
    wanted, found = (one.segment(picture((120, 90)), words, **options) for one in (model, runtime))
    assert found.left_out == wanted.left_out
    assert (found.label_map != wanted.label_map).mean() <= 1e-3
    np.testing.assert_allclose(found.pixel_scores, wanted.pixel_scores, atol=1e-4)


@pytest.mark.slow
def test_vocabularies_of_any_length_go_through_one_file(model, runtime):
    for count in (1, 2, 17, 60):
        words = [f'thing {k}' for k in range(count)]
        wanted, found = (one.segment(picture((40, 60)), words) for one in (model, runtime))
        assert found.names == wanted.names
        assert (found.label_map != wanted.label_map).mean() <= 1e-3


@pytest.mark.slow
def test_openvino_runs_both_stages(model, runtime, tmp_path):
    made = {part: OPENVINO.finish(copied(runtime, tmp_path, part)) for part in ('image', 'regions')}
    graph, second = capability(model.model).way.graph(model.model), RegionGraph(model.model.region_classifier)
    assert check_image_graph(made['image'], graph.eval(), runtime.manifest.words.embed_dim, None) < 1e-4
    assert check_region_graph(made['regions'], second.eval()) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize(('precision', 'most'), [('fp16', 0.02), ('int8', 0.5)])
@pytest.mark.parametrize('form', ['onnx', 'openvino'])
def test_masks_of_a_lower_precision_are_nearly_the_same(model, runtime, tmp_path, form, precision, most):
    Image.fromarray(picture((64, 96))).save(tmp_path / 'a.png')
    graph, form = capability(model.model).way.graph(model.model), FORMATS[form]
    feeds = calibration_feeds(tmp_path, runtime.manifest.picture, runtime.class_embeddings(WORDS), graph)
    path = copied(runtime, tmp_path, 'image')
    cost = Lowered(path, precision, feeds).replace(form.finish(path), form, graph)
    assert 0 <= cost['places that differ'] <= most
    assert cost['MB'][1] < cost['MB'][0]


def copied(runtime, folder, part):
    """A graph of an export, which may be changed."""
    path = folder / f'{part}.onnx'
    path.write_bytes((runtime.folder / path.name).read_bytes())
    return path


@pytest.mark.slow
def test_the_manifest_says_how_masks_become_results(runtime):
    content = json.loads((runtime.folder / 'manifest.json').read_text(encoding='utf-8'))
    assert content['files']['regions'] == 'regions.onnx'
    assert content['regions']['selection'] == 'best'
    assert content['regions']['prompted']
    assert content['picture']['whole'] == [32, 32]


@pytest.mark.slow
def test_backgrounds_that_the_model_has_not_are_refused(runtime):
    with pytest.raises(UserError, match='choose from none, prompts, learned'):
        runtime.segment(picture((9, 9)), {'classes': ['a'], 'background': 'threshold', 'threshold': 0.5})


@pytest.mark.parametrize('matting', [False, True])
@pytest.mark.parametrize('expand', [1.0, 1.7])
def test_pictures_of_masks_are_those_of_pytorch(expand, matting):
    """Masks of one pixel, of a row, of everything, and of odd places, cut out and resized up and down."""
    numbers = np.random.default_rng(0)
    image = numbers.uniform(0, 255, (3, 61, 47)).astype(np.float32)
    masks = np.zeros((5, 61, 47), dtype=np.float32)
    masks[0], masks[1, 60, 46], masks[2, 7], masks[3, 5:50, 3:9] = 1, 0.9, 0.7, 0.6
    masks[4] = numbers.uniform(0, 1, (61, 47))
    mean, std, fill = (120.0, 110.0, 100.0), (60.0, 58.0, 57.0), (0.0, 0.0, 0.0)
    rule = Regions(100, 'both', 0.7, 'best', 0.4, (32, 24), mean, std, fill, expand, matting=matting, prompted=True)
    wanted = crop_regions(
        torch.from_numpy(image),
        torch.from_numpy(masks),
        size=(32, 24),
        threshold=0.4,
        fill=fill,
        expand=expand,
        matting=matting,
        mean=mean,
        std=std,
    )
    for number, share in enumerate(masks):
        pictures, frames = cut_out(relative(image, rule), share, rule)
        np.testing.assert_allclose(pictures, wanted.pictures[number], atol=1e-4)
        np.testing.assert_array_equal(frames, wanted.masks[number].float())


@pytest.mark.parametrize(
    ('settings', 'says'),
    [
        (dict(test_cfg=dict(mode='slide', crop_size=(64, 64), stride=(32, 32))), 'classifies the masks of each window'),
        (dict(test_cfg=dict(active_vocabulary='dense')), 'chooses the classes of each picture'),
    ],
)
def test_what_the_runtime_does_not_do_is_a_reason(settings, says):
    found = capability(tiny_ovseg(**settings))
    assert not found.exportable
    assert says in found.reason
