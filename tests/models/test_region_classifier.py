"""The second stage: crops, prompts, batches, dropped masks."""

import json
import warnings

import pytest
import torch
import torch.nn.functional as F
from tiny_two_stage import random_masks, tiny_clip

from denseclip.models.open_clip_parts import OpenCLIPParts
from denseclip.models.region_classifier import PROMPTS_FILE, PROMPTS_KEY, RegionClassifier
from denseclip.weights import write_safetensors

IMAGE = torch.rand(3, 32, 40, generator=torch.Generator().manual_seed(0)) * 255


@pytest.fixture
def masks():
    return F.interpolate(random_masks(7)[None], size=(32, 40), mode='bilinear')[0].sigmoid()


def classifier(**settings):
    torch.manual_seed(1)
    return RegionClassifier(tiny_clip(), **{'prompt_depth': 2, **settings}).eval()


def test_batches_change_nothing(masks):
    with torch.no_grad():
        together, alone = (classifier(batch_size=n)(IMAGE, masks) for n in (32, 1))
        each = torch.cat([classifier()(IMAGE, mask[None]).embeddings for mask in masks])
    assert together.valid.all()
    assert torch.allclose(together.embeddings, alone.embeddings, atol=1e-5)
    assert torch.allclose(together.embeddings, each, atol=1e-5)
    assert torch.allclose(together.embeddings.norm(dim=1), torch.ones(7), atol=1e-5)


@pytest.mark.parametrize('lean', [{}, dict(min_area=0.01, max_overlap=0.5)])
def test_no_mask_no_valid_mask_and_exactly_one(masks, lean):
    model = classifier(**lean)
    assert model(IMAGE, masks[:0]).embeddings.shape == (0, 16)
    nothing = model(IMAGE, torch.zeros(3, 32, 40))
    assert not nothing.valid.any() and not nothing.embeddings.any()
    one = model(IMAGE, torch.cat([torch.zeros(2, 32, 40), masks[:1]]))
    assert one.valid.tolist() == [False, False, True]
    assert torch.allclose(one.embeddings[2], model(IMAGE, masks).embeddings[0], atol=1e-5)


@pytest.mark.parametrize('change', [dict(fill='zero'), dict(fill=[255, 0, 0]), dict(expand=1.5), dict(matting=True),
                                    dict(threshold=0.8), dict(use_prompts=False)])  # fmt: skip
def test_switches_change_what_is_seen(masks, change):
    assert not torch.allclose(classifier()(IMAGE, masks).embeddings, classifier(**change)(IMAGE, masks).embeddings)


def test_the_mean_colour_is_nothing(masks):
    crops = classifier().crops(IMAGE, masks)
    # Far inside the background no tap of the bicubic filter touches the mask.
    away = F.max_pool2d(crops.masks[:, None].float(), 9, 1, 4)[:, 0] == 0
    assert away.any() and (crops.pictures.abs().amax(dim=1)[away] < 1e-6).all()


def test_dropped_masks(masks):
    masks = torch.cat([masks, masks[:1] * 0.999])
    masks[3] = 0
    masks[3, 5, 5] = 1
    full = classifier()(IMAGE, masks)
    lean = classifier(min_area=0.01, max_overlap=0.95)
    seen = []
    encode = lean.encode
    lean.encode = lambda pictures, frames: (seen.append(len(pictures)), encode(pictures, frames))[1]
    found = lean(IMAGE, masks)
    assert seen == [6]
    assert found.valid.tolist() == [True, True, True, False, True, True, True, True]
    assert torch.equal(found.embeddings[7], found.embeddings[0])
    assert torch.allclose(found.embeddings[:3], full.embeddings[:3], atol=1e-5)


def test_prompts_of_a_folder(tmp_path, masks):
    parts = tiny_clip()
    config = {**parts.clip.config, 'text_cfg': {**parts.clip.config['text_cfg']}}
    (tmp_path / 'open_clip_config.json').write_text(json.dumps({'model_cfg': config, 'preprocess_cfg': {}}))
    write_safetensors(parts.clip.model.state_dict(), tmp_path / 'open_clip_model.safetensors')
    source = OpenCLIPParts(f'local-dir:{tmp_path}')
    assert RegionClassifier(source).mask_embedding is None
    prompts = torch.randn(2, 16, 24)
    write_safetensors({PROMPTS_KEY: prompts}, tmp_path / PROMPTS_FILE)
    found = RegionClassifier(source).eval()
    assert torch.equal(found.mask_embedding, prompts) and found.prompts_have_source
    given = classifier(prompts=tmp_path / PROMPTS_FILE)
    assert torch.allclose(found(IMAGE, masks).embeddings, given(IMAGE, masks).embeddings, atol=1e-6)
    write_safetensors({'other': prompts}, tmp_path / PROMPTS_FILE)
    with pytest.raises(ValueError, match=PROMPTS_KEY):
        RegionClassifier(source)


def test_random_prompts_are_not_taken_for_learned_ones(masks):
    def said(model):
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter('always')
            model(IMAGE, masks)
            model(IMAGE, masks)
        return [str(w.message) for w in found if 'random numbers' in str(w.message)]

    model, other = classifier(), classifier()
    other.load_state_dict(model.state_dict())
    assert not said(other) and not said(classifier(use_prompts=False)) and not said(classifier(prompt_depth=0))
    assert not said(classifier(prompts=torch.randn(2, 16, 24)))
    assert len(said(model)) == 1 and 'prompt_depth=0' in said(classifier())[0]


def test_what_cannot_be_built():
    for settings, message in (
        (dict(fill='grey'), 'choose from mean'),
        (dict(batch_size=0), 'at least 1'),
        (dict(prompts=torch.randn(2, 16, 8)), r'\(depth, patches or 1, 24\)'),
    ):
        with pytest.raises(ValueError, match=message):
            classifier(**settings)
    resnet = tiny_clip(vision_cfg=dict(image_size=64, patch_size=None, layers=[1, 1, 1, 1], width=8, head_width=64))
    with pytest.raises(ValueError, match='vision transformer'):
        RegionClassifier(resnet, prompt_depth=1)
    masks = torch.rand(2, 32, 40)
    assert RegionClassifier(resnet).eval()(IMAGE, masks).embeddings.shape == (2, 16)
