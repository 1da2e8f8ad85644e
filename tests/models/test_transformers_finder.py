"""SAM 2, SAM 3 and EoMT of transformers as proposer and as regions: equal to what transformers makes of the picture."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import init_default_scope
from PIL import Image
from tiny_sam import SIDE, eomt_folder, sam2_folder, sam3_folder, whole_sam3_folder
from torch import Tensor

from denseclip.clip.preprocess import PreprocessSpec
from denseclip.engine.compute import Compute
from denseclip.engine.compute.weights import image_encoders
from denseclip.models import transformers_finder as module
from denseclip.models import transformers_parts
from denseclip.models.builder import build_module
from denseclip.models.sam3_concepts import picture_facts
from denseclip.models.transformers_finder import POINT_OPTIONS, TransformersFinder
from denseclip.weights import WeightFileError, WeightMismatchError

META = dict(img_shape=(32, 40))
POINTS = dict(points_per_crop=4, pred_iou_thresh=-50.0, stability_score_thresh=-1.0)
SPEC = PreprocessSpec(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


@pytest.fixture(scope='module')
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    init_default_scope('mmseg')
    place = tmp_path_factory.mktemp('transformers')
    return {
        'sam2': sam2_folder(place / 'sam2'),
        'sam3': sam3_folder(place / 'sam3'),
        'eomt': eomt_folder(place / 'eomt'),
    }


@pytest.fixture
def picture() -> Tensor:
    """RGB, padded at the right."""
    noise = np.random.default_rng(0).integers(0, 255, (4, 5, 3)).astype(np.uint8)
    pixels = torch.zeros(1, 3, 32, 48)
    pixels[..., :40] = torch.from_numpy(np.array(Image.fromarray(noise).resize((40, 32)))).permute(2, 0, 1)
    return pixels


def pillow(picture: Tensor) -> Image.Image:
    return Image.fromarray(picture[0, :, :, :40].byte().permute(1, 2, 0).numpy())


def found_by(kind: str, source: Path, picture: Tensor, **options: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Masks of the proposer without the padding, their scores, and the regions, once all of it is consistent."""
    proposer = build_module(dict(type='TransformersMasks', source=str(source), **options))
    assert not proposer.state_dict()
    proposals = proposer(picture, [META])
    masks = proposals.mask_logits[0] > 0
    assert masks.shape[1:] == (32, 48) and not masks[:, :, 40:].any(), kind
    masks_of = dict(type='TransformersMasks', source=str(source), **options)
    provider = build_module(dict(type='ProposedRegions', masks=masks_of))
    regions = provider(picture[0, :, :, :40] / 255, SPEC, (32, 40), {})
    assert not provider.state_dict()
    return masks[:, :, :40], proposals.scores[0], regions


def check_regions(masks: Tensor, regions: Tensor) -> None:
    """Every pixel belongs to the smallest mask that covers it."""
    area = masks.flatten(1).sum(dim=1)
    best = torch.where(masks, area[:, None, None], 10**9).amin(dim=0)
    assert torch.equal(regions >= 0, masks.any(dim=0))
    sizes = torch.stack(
        [area.sort().values[number] if number >= 0 else area.new_tensor(10**9) for number in regions.flatten()]
    )
    assert torch.equal(sizes.reshape(32, 40), best)


def test_sam2_is_asked_as_transformers_asks_it(folders: dict[str, Path], picture: Tensor) -> None:
    from transformers import MaskGenerationPipeline, Sam2ImageProcessor, Sam2Model

    masks, scores, regions = found_by('sam2', folders['sam2'], picture, **POINTS)
    processor = Sam2ImageProcessor.from_pretrained(folders['sam2'])
    ask = MaskGenerationPipeline(
        model=Sam2Model.from_pretrained(folders['sam2']), image_processor=processor, device='cpu'
    )
    wanted = ask(pillow(picture), **POINTS)
    assert len(masks) == len(wanted['masks']) > 0
    assert torch.equal(masks, torch.stack([torch.as_tensor(np.asarray(mask)) for mask in wanted['masks']]).bool())
    torch.testing.assert_close(scores, torch.as_tensor(wanted['scores']))
    check_regions(masks, regions)


def test_the_published_sam3_proposes_by_points_and_by_words(picture: Tensor, tmp_path: Path) -> None:
    from transformers import MaskGenerationPipeline, Sam3ImageProcessor, Sam3TrackerModel

    folder = whole_sam3_folder(tmp_path / 'published')
    masks, _, _ = found_by('sam3', folder, picture, **POINTS)
    processor = Sam3ImageProcessor.from_pretrained(folder)
    model = Sam3TrackerModel.from_pretrained(folder)
    wanted = MaskGenerationPipeline(model=model, image_processor=processor, device='cpu')(pillow(picture), **POINTS)
    assert len(masks) == len(wanted['masks']) > 0
    assert torch.equal(masks, torch.stack([torch.as_tensor(np.asarray(mask)) for mask in wanted['masks']]).bool())
    assert len(TransformersFinder(folder, words='lamp').find(picture[0].byte().permute(1, 2, 0))[0])


def test_regions_and_masks_serve_other_models(folders: dict[str, Path], picture: Tensor) -> None:
    from tiny_open_vocab import tiny_open_vocab
    from tiny_two_stage import tiny_two_stage

    masks = dict(type='TransformersMasks', source=str(folders['sam2']), **POINTS)
    model = tiny_open_vocab('maskclip', regions=dict(type='ProposedRegions', masks=masks))
    inside = picture[..., :40] / 255
    labels = model.predict(inside)[0].pred_sem_seg.data[0]
    regions = model.regions(inside[0], model.tower.preprocess, (32, 40), {})
    assert all(len(labels[regions == number].unique()) == 1 for number in regions.unique().tolist() if number >= 0)
    named = tiny_two_stage()
    named.proposer = build_module(masks)
    assert named.predict(picture)[0].pred_sem_seg.data.shape == (1, 32, 48)


def test_where_sam2_is_sure_of_nothing_there_are_no_masks(folders: dict[str, Path], picture: Tensor) -> None:
    finder = TransformersFinder(folders['sam2'], points_per_crop=2, pred_iou_thresh=1e9)
    masks, scores = finder.find(picture[0].byte().permute(1, 2, 0))
    assert masks.shape == (0, 32, 48) and scores.shape == (0,)


def test_where_eomt_is_sure_of_nothing_there_are_no_masks(folders: dict[str, Path], picture: Tensor) -> None:
    masks, scores, regions = found_by('eomt', folders['eomt'], picture, least_score=1.0)
    assert not masks.any() and not scores.any() and (regions == -1).all()


def test_eomts_queries_are_those_of_transformers(folders: dict[str, Path], picture: Tensor) -> None:
    from transformers import EomtForUniversalSegmentation, EomtImageProcessor

    masks, scores, regions = found_by('eomt', folders['eomt'], picture, least_score=0.0)
    processor = EomtImageProcessor.from_pretrained(folders['eomt'])
    model = EomtForUniversalSegmentation.from_pretrained(folders['eomt']).eval()
    with torch.no_grad():
        out = model(**{'pixel_values': processor(pillow(picture), return_tensors='pt')['pixel_values']})
    sure, labels = out.class_queries_logits[0].softmax(-1).max(-1)
    kept = labels < 3
    assert 0 < kept.sum() == len(masks)
    # The processor keeps the aspect ratio: 32 x 40 becomes 26 x 32 in the upper left of a square of 32.
    square = F.interpolate(out.masks_queries_logits[:, kept], size=(32, 32), mode='bilinear')
    wanted = F.interpolate(square[:, :, :26], size=(32, 40), mode='bilinear')[0] > 0
    assert torch.equal(masks, wanted) and torch.allclose(scores, sure[kept])
    check_regions(masks, regions)


def test_sam3_proposes_what_words_name(folders: dict[str, Path], picture: Tensor) -> None:
    from tiny_sam import tiny_sam3

    masks, scores, _ = found_by('sam3', folders['sam3'], picture, words=['lamp', 'boat'], least_score=0.3)
    model = tiny_sam3(vocabulary='lamp; boat', things='all')
    model.set_task('instance')
    pixels = F.interpolate(picture[..., :40], size=(SIDE, SIDE), mode='bilinear', antialias=True).round() / 127.5 - 1
    from mmseg.structures import SegDataSample

    objects = model.predict(pixels, [SegDataSample(metainfo=dict(ori_shape=(32, 40)))])[0].pred_instances
    order = scores.argsort(descending=True, stable=True)
    assert len(scores) == len(objects) > 0
    torch.testing.assert_close(scores[order], objects.scores, atol=1e-5, rtol=1e-4)
    assert (masks[order] == objects.masks).float().mean() > 0.999


@pytest.mark.parametrize('kind', ['sam2', 'words', 'tracker', 'eomt'])
def test_masks_are_found_in_float32_whatever_the_model_computes_in(
    kind: str, folders: dict[str, Path], picture: Tensor, tmp_path: Path
) -> None:
    options = dict(words=dict(words='lamp'), sam2=POINTS, tracker=POINTS, eomt=dict(least_score=0.0))[kind]
    source = (
        whole_sam3_folder(tmp_path / 'published') if kind == 'tracker' else folders[{'words': 'sam3'}.get(kind, kind)]
    )
    proposer = build_module(dict(type='TransformersMasks', source=str(source), **options))
    wanted = proposer(picture, [META])
    compute = Compute('bf16')
    compute.prepare(proposer)
    with compute.running(proposer):
        found = proposer(picture, [META])
    assert torch.equal(found.mask_logits[0], wanted.mask_logits[0]) and torch.equal(found.scores[0], wanted.scores[0])
    assert not list(image_encoders(proposer))


def test_masks_enlarged_some_at_a_time_are_the_same(
    folders: dict[str, Path], picture: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels, found = picture[0].byte().permute(1, 2, 0), []
    for least, at_once in ((0.3, 16), (0.3, 1), (1.0, 16)):
        monkeypatch.setattr(module, '_AT_ONCE', at_once)
        found.append(TransformersFinder(folders['sam3'], words=['lamp', 'boat'], least_score=least).find(pixels))
    assert len(found[0][0]) > 1 and all(map(torch.equal, found[0], found[1]))
    assert found[2][0].shape == (0, 32, 48) and found[2][1].shape == (0,)


def test_a_folder_may_say_of_pictures_and_words_together(folders: dict[str, Path], tmp_path: Path) -> None:
    other = shutil.copytree(folders['sam3'], tmp_path / 'other')
    facts = json.loads((other / 'preprocessor_config.json').read_text())
    (other / 'preprocessor_config.json').unlink()
    assert 'size' not in picture_facts(other)
    facts = {**facts, 'image_mean': [0.1, 0.2, 0.3]}
    (other / 'processor_config.json').write_text(json.dumps({'image_processor': facts, 'processor_class': 'X'}))
    assert picture_facts(other)['mean'] == (0.1, 0.2, 0.3) and picture_facts(other)['size'] == (SIDE, SIDE)


def test_options_are_those_of_transformers() -> None:
    from transformers import MaskGenerationPipeline

    given = dict.fromkeys(POINT_OPTIONS, 1)
    taken = MaskGenerationPipeline._sanitize_parameters(None, **given)
    assert set().union(*taken) == set(POINT_OPTIONS)


def test_settings_that_choose_code_are_not_followed(folders: dict[str, Path], tmp_path: Path) -> None:
    other = shutil.copytree(folders['eomt'], tmp_path / 'other')
    config = json.loads((other / 'config.json').read_text())
    asked = dict(attn_implementation='somebody/kernel', _attn_implementation='x', auto_map=dict(AutoModel='a.B'))
    (other / 'config.json').write_text(json.dumps({**config, **asked}))
    pictures = json.loads((other / 'preprocessor_config.json').read_text())
    (other / 'preprocessor_config.json').write_text(
        json.dumps({**pictures, 'auto_map': dict(AutoImageProcessor='a.B')})
    )
    model = TransformersFinder(other).model
    assert model.config._attn_implementation in ('sdpa', 'eager') and not hasattr(model.config, 'auto_map')


def test_an_older_python_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'transformers', None)
    with pytest.raises(ImportError, match=r"X needs transformers: pip install 'denseclip-suite\[sam\]'\.$"):
        transformers_parts.part_of_transformers('SamModel', 'X')
    assert transformers_parts._extra((3, 10)).startswith('Python 3.11 or later (this is 3.10) and pip install')


def test_folders_that_cannot_be_used(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match='does not exist'):
        TransformersFinder(tmp_path / 'nowhere')
    with pytest.raises(WeightFileError, match='no model of transformers'):
        TransformersFinder(tmp_path)
    for options, said in ((dict(words='cat'), 'knows no words'), (dict(points_per_crop=2), 'asked at points')):
        with pytest.raises(ValueError, match=said):
            TransformersFinder(folders['eomt'], **options)
    for options, said in (
        (dict(points_per_side=2), "'points_per_side' is no option.*did you mean points_per_crop"),
        (dict(zzz=2), 'there are points_per_batch'),
        (dict(least_score=0.5), 'pred_iou_thresh'),
    ):
        with pytest.raises(ValueError, match=said):
            TransformersFinder(folders['sam2'], **options)
    with pytest.raises(WeightFileError, match='words='):
        TransformersFinder(folders['sam3'])
    other = shutil.copytree(folders['eomt'], tmp_path / 'other')
    config = json.loads((other / 'config.json').read_text())
    (other / 'config.json').write_text(json.dumps({**config, 'model_type': 'bert'}))
    with pytest.raises(WeightFileError, match=r"'bert'; wanted is sam3 or"):
        TransformersFinder(other)
    (other / 'config.json').write_text(json.dumps({**config, 'num_hidden_layers': 3}))
    with pytest.raises(WeightMismatchError, match='lack'):
        TransformersFinder(other)
    (other / 'config.json').write_text(json.dumps(config))
    (other / 'model.safetensors').rename(other / 'pytorch_model.bin')
    with pytest.raises(WeightFileError, match=r'\*\.safetensors'):
        TransformersFinder(other)
