"""Checks of OVSeg's second stage: mask prompts, region pictures, the ensemble, the demonstration, augmentation."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmcv.transforms import Compose
from mmengine.structures import PixelData
from mmseg.models.segmentors.base import BaseSegmentor
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from denseclip.clip.blocks import run_block
from denseclip.clip.half_rounding import round_through_half
from denseclip.clip.mask_prompts import MaskPrompts
from denseclip.clip.towers import DenseReadOut, ViTTower, build_vit
from denseclip.clip.vocabulary import Vocabulary
from denseclip.core.placement import Placement
from denseclip.models.functional.mask_prompts import encode_with_masks, kept_patches, patch_coverage
from denseclip.models.functional.region_crops import crop_regions, expand_boxes, tight_boxes
from denseclip.models.open_clip_parts import OpenCLIPParts
from denseclip.models.region_classifier import RegionClassifier
from denseclip.models.segmentors.label_inference import LabelMapInference
from denseclip.models.segmentors.tta import ScoreAverageTTAModel
from denseclip.models.segmentors.two_stage_results import MaskClasses, TwoStageResults
from denseclip.weights import load_into
from denseclip.weights.convert import convert

from .fixtures import Fixture
from .ovseg_models import build_model, fixture_of_weights, request
from .registry import consumes


@consumes('ovseg', 'mask_pool')
def check_mask_pool(fixture: Fixture) -> None:
    patch = (fixture.config['patch'],) * 2
    for kind in ('hard', 'soft'):
        masks = fixture.input(kind)[:, 0]
        fixture.expect(f'{kind}_mean', patch_coverage(masks, patch))
        fixture.expect(f'{kind}_keep', kept_patches(masks, patch))


def prompted_tower(fixture: Fixture, prefix: str = '', layers: int | None = None) -> tuple[ViTTower, Tensor]:
    """The fixture's image tower with weights from the public converter, and its mask prompts."""
    config, state = fixture.config, fixture.state(prefix)
    classifier = convert({f'clip_adapter.clip_model.visual.{k}': v for k, v in visual_state(state).items()}, 'ovseg')
    prompts = classifier.pop('region_classifier.mask_embedding')
    visual = build_vit(
        image_size=config['input_resolution'],
        patch_size=config['patch_size'],
        width=config['width'],
        layers=config['layers'],
        heads=config['heads'],
        embed_dim=config['output_dim'],
        quick_gelu='quick' in config.get('activation', 'quickgelu'),
    )
    assert prompts.shape[0] == config['mask_prompt_depth']
    assert (prompts.shape[1] == 1) == config.get('shared_prompt', False)
    load_into(visual, {k.removeprefix('region_classifier.tower.visual.'): v for k, v in classifier.items()}, source='')
    return ViTTower(visual, DenseReadOut(dense=False)).eval(), prompts


def visual_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Image tower alone; some fixtures hold it under ``visual.``."""
    return {key.removeprefix('visual.'): value for key, value in state.items()}


@consumes('ovseg', 'mask_prompt_vit')
@torch.no_grad()
def check_mask_prompts(fixture: Fixture) -> None:
    """Mask prompts before positions and after the first blocks; per place, and one for all places."""
    tower, embedding = prompted_tower(fixture)
    images, masks = fixture.input('image'), fixture.input('region_mask')[:, 0]
    fixture.expect('patch_mean', patch_coverage(masks, tower.multiple))
    prompts = MaskPrompts(kept_patches(masks, tower.multiple), embedding)
    fixture.expect('patch_keep', prompts.keep)
    fixture.expect('tokens_before_ln_pre', tower.patchify(images, prompts)[0])
    block = tower.visual.transformer.resblocks[0]
    fixture.expect('block1', run_block(block, tower.embed(images, prompts)[0]))
    fixture.expect('feat_masked', encode_with_masks(tower, images, masks, embedding))
    fixture.expect('feat_plain', encode_with_masks(tower, images, None, embedding))


@consumes('ovseg', 'region_preprocess')
def check_regions(fixture: Fixture) -> None:
    """Boxes, background, bicubic and nearest resizing of all masks at once, hard and soft."""
    config = fixture.config
    image, masks = fixture.input('image').float(), fixture.input('mask_q').float() / 256
    size = (config['region_size'],) * 2
    how = dict(threshold=config['mask_thr'], fill=config['fill_value'], expand=config['expand_ratio'])
    how['matting'] = config['mask_matting']
    boxes, valid = tight_boxes(masks, config['mask_thr'])
    fixture.expect('valid', valid)
    fixture.expect('boxes_xyxy', boxes.float())
    fixture.expect('expanded_boxes', expand_boxes(boxes, config['expand_ratio']).int())
    found = crop_regions(image, masks, size=size, mean=config['pixel_mean'], std=config['pixel_std'], **how)
    fixture.expect('regions_s5', found.pictures[:, :, ::5, ::5])
    row = next(fixture.outputs(r'region0_row(\d+)'))
    fixture.expect(row.group(), found.pictures[0, :, int(row.group(1))])
    fixture.expect('regions_mean', found.pictures.mean(dim=(2, 3)))
    fixture.expect('regions_std', found.pictures.std(dim=(2, 3)))
    step = size[0] // fixture.tensors['out.region_masks'].shape[-1]
    fixture.expect('region_masks', found.masks[:, None, ::step, ::step])
    plain = crop_regions(image, masks, size=size, **how)
    expect_close(fixture, 'unnorm_regions_s10', plain.pictures[:, :, 1::10, 1::10], 2e-3)
    # A crop in its own size: resizing leaves every pixel as it is.
    height, width = (int(side) for side in fixture.tensors['out.crop0_hw'])
    first = crop_regions(image, masks[valid][:1], size=(height, width), **how)
    x1, y1, x2, y2 = first.boxes[0].tolist()
    fixture.expect('crop0_hw', torch.tensor([y2 - y1, x2 - x1]))
    expect_close(fixture, 'crop0_s2', first.pictures[0, :, ::2, ::2], 2e-3)
    fixture.expect('cropmask0', first.masks[:, ::2, ::2])


def expect_close(fixture: Fixture, name: str, value: Tensor, atol: float) -> None:
    """Compare colours in 0..255, for which the manifest allows a larger difference."""
    torch.testing.assert_close(value, fixture.tensors[f'out.{name}'], rtol=1e-5, atol=atol)
    fixture.compared.add(f'out.{name}')


@consumes('ovseg', 'clip_branch')
@torch.no_grad()
def check_clip_branch(fixture: Fixture) -> None:
    """The whole second stage on a photograph, with and without mask prompts."""
    config = fixture.config
    vision = dict(image_size=config['input_resolution'], patch_size=config['patch_size'], width=config['width'])
    vision |= dict(layers=config['layers'], head_width=config['width'] // config['heads'])
    arch = dict(embed_dim=config['output_dim'], vision_cfg=vision, text_cfg=dict(width=16, heads=2, layers=1))
    parts = OpenCLIPParts('ViT-B-16', arch=arch, quick_gelu=True)
    tower, prompts = prompted_tower(fixture)
    parts.clip.model.visual.load_state_dict(tower.visual.state_dict())
    classifier = RegionClassifier(
        parts,
        threshold=config['mask_thr'],
        fill=config['mask_fill'],
        expand=config['expand_ratio'],
        prompts=prompts,
        batch_size=2,
    ).eval()
    image, masks = fixture.input('image').float(), fixture.input('mask_q').float() / 256
    rows = torch.cat([fixture.input('text'), F.normalize(fixture.input('non_object_embedding'), dim=-1)])
    for name, use in (('prompt', True), ('plain', False)):
        classifier.use_prompts = use
        found = classifier(image, masks)
        fixture.expect('valid', found.valid)
        fixture.expect(f'feat_{name}', found.embeddings[found.valid])
        fixture.expect(f'logits_{name}', config['temperature'] * found.embeddings[found.valid] @ rows.T)


def ensemble_case(fixture: Fixture, everything_valid: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Logits of both stages for all queries, and which the second has seen."""
    first = fixture.input('mask_cls_logits')
    if everything_valid:
        return first, fixture.input('clip_logits_all'), torch.ones(len(first), dtype=torch.bool)
    valid = fixture.input('valid')
    second = torch.zeros(len(first), fixture.input('clip_logits').shape[1])
    second[valid] = fixture.input('clip_logits')
    return first, second, valid


@consumes('ovseg', 'ensemble')
def check_ensemble(fixture: Fixture) -> None:
    """Weighted geometric means, either stage alone, and the choice of masks in the demonstration."""
    classes = fixture.config['C']
    masks = fixture.input('mask_pred_logits').sigmoid()

    def scores(weight: float, how: str, selection: str = 'all', names: int = classes, seen: bool = False) -> Tensor:
        first, second, valid = ensemble_case(fixture, seen)
        if names < classes:  # the classes named, then "no object"
            columns = [*range(names), classes]
            first, second = first[:, columns], second[:, columns]
        both = MaskClasses.of(first.log_softmax(dim=-1)[:, :-1], second[:, :-1].log_softmax(dim=-1), valid, weight, how)
        policy = dict(background='prompts', background_names=['others']) if names < classes else {}
        words = Vocabulary.of(dict(classes=[f'class {k}' for k in range(names - bool(policy))], **policy))
        sample = SegDataSample()
        TwoStageResults(words, selection, fixture.config['mask_thr'], Placement()).write(sample, both, masks, True)
        return sample.seg_logits.data

    for match in list(fixture.outputs(r'semseg_w([\d.]+)')):
        weight = float(match.group(1))
        fixture.expect(match.group(), scores(weight, 'both' if weight else 'second'))
    for name in ('semseg_off', 'semseg_plain_maskformer'):
        fixture.expect(name, scores(0.7, 'first'))
    fixture.expect('demo_w0', scores(0.0, 'second', 'best'))
    fixture.expect('demo_single_name', scores(0.0, 'second', 'best', names=2))
    for match in list(fixture.outputs(r'demo_w([\d.]+)_allvalid')):
        fixture.expect(match.group(), scores(float(match.group(1)), 'both', 'best', seen=True))


@consumes('ovseg', 'e2e_demo')
@torch.no_grad()
def check_demo(fixture: Fixture) -> None:
    """Chosen masks and label maps, for several names and for one."""
    config = fixture.config
    weight = config['ensemble_weight']
    model = build_model(
        fixture_of_weights(fixture),
        fixture,
        ensemble_weight=weight,
        stages='both' if weight else 'second',
        selection='best',
    )
    model.keep_logits = True
    for match in list(fixture.outputs(r'sem_seg_(\w+)')):
        name = match.group(1)
        names = re.search(r'class_names=\[(.*?)\]', fixture.manifest['tensors'][f'out.{match.group()}']['meaning'])
        assert names is not None
        model.set_vocabulary([part.strip(" '") for part in names.group(1).split(',')])
        sample = model.predict(*request(model, fixture))[0]
        fixture.expect(f'sem_seg_{name}', sample.seg_logits.data)
        labels = sample.pred_sem_seg.data[0]
        # Theirs shows blank pixels as 255, and the name added by itself as a class.
        reference = fixture.tensors[f'out.label_{name}'].long()
        fixture.compared.add(f'out.label_{name}')
        assert torch.equal(labels, reference.masked_fill(reference == 255, len(model.vocabulary)))


class StubSegmentor(LabelMapInference, BaseSegmentor):
    """The stub that the augmentation fixture describes: a convolution plus ramps along both axes."""

    align_corners = False

    def __init__(self, weight: Tensor, bias: Tensor, **test_cfg: Any) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)
        self.test_cfg: Any = test_cfg

    def num_channels(self) -> int:
        return self.weight.shape[0]

    def head_logits(self, inputs: Tensor) -> Tensor:
        height, width = inputs.shape[-2:]
        ramps = torch.linspace(0, 1, width) + torch.linspace(0, 2, height)[:, None]
        return F.conv2d(inputs / 64, self.weight, self.bias, padding=1).tanh() + ramps

    def predict(self, inputs: Tensor, data_samples: Any = None) -> Any:
        for sample, scores in zip(data_samples, self.head_logits(torch.stack(inputs)), strict=True):
            size = sample.ori_shape
            scores = F.interpolate(scores[None], size=size, mode='bilinear', align_corners=False)[0]
            sample.seg_logits = PixelData(data=scores.flip(2) if sample.flip else scores)
        return data_samples

    def extract_feat(self, inputs: Tensor) -> Any: ...

    def encode_decode(self, inputs: Tensor, batch_data_samples: Any = None) -> Any: ...

    def _forward(self, inputs: Tensor, data_samples: Any = None) -> Any: ...

    def loss(self, inputs: Tensor, data_samples: Any) -> Any: ...


@consumes('ovseg', 'tta')
@torch.no_grad()
def check_augmentation(fixture: Fixture) -> None:
    """Views of several sizes and their mirror images; overlapping tiles."""
    config, state = fixture.config, fixture.state()
    image = fixture.input('image')
    pixels = image.permute(1, 2, 0).numpy().copy()
    flips = (False, True) if config['flip'] else (False,)
    views = [
        Compose(
            [
                dict(type='PillowResizeShortSide', short_side=size, max_long_side=config['max_size']),
                dict(type='mmseg.RandomFlip', prob=float(flip)),
                dict(type='mmseg.PackSegInputs'),
            ]
        )(dict(img=pixels, ori_shape=pixels.shape[:2], img_path=''))
        for size in config['min_sizes']
        for flip in flips
    ]
    assert len(views) == config['n_views']
    model = ScoreAverageTTAModel(module=StubSegmentor(state['weight'], state['bias']))
    data = {
        'inputs': [[view['inputs']] for view in views],
        'data_samples': [[view['data_samples']] for view in views],
    }
    fixture.expect('tta', model.test_step(data)[0].seg_logits.data)
    tile, overlap = config['sliding_tile'], config['sliding_overlap']
    stride = int(np.ceil(tile * (1 - overlap)))
    slider = StubSegmentor(state['weight'], state['bias'], crop_size=(tile,) * 2, stride=(stride,) * 2)
    merged = slider.slide_inference(image[None].float(), [])
    size = tuple(config['sliding_out_hw'])
    fixture.expect('sliding', F.interpolate(merged, size=size, mode='bilinear', align_corners=False)[0])


@consumes('ovseg', 'clip_load_fp16')
def check_half_rounding(fixture: Fixture) -> None:
    """Which weights the authors' loader passes through float16."""
    lists = fixture.manifest
    keys = [*lists['rounded'], *lists['exact']]

    def layers(prefix: str) -> int:
        return len({key.removeprefix(prefix).split('.')[0] for key in keys if key.startswith(prefix)})

    vision = dict(image_size=32, patch_size=16, width=32, head_width=16, layers=layers('visual.transformer.resblocks.'))
    text = dict(width=16, heads=2, layers=layers('transformer.resblocks.'), vocab_size=50)
    arch = dict(embed_dim=16, vision_cfg=vision, text_cfg=text)
    parts = OpenCLIPParts('ViT-B-16', arch=arch, quick_gelu=True)
    classifier = RegionClassifier(parts, prompt_depth=2)
    model = parts.clip.model
    for parameter in [*model.parameters(), *classifier.parameters()]:
        nn.init.normal_(parameter.data) if parameter.ndim else parameter.data.fill_(0.1234567)

    def state() -> dict[str, Tensor]:
        own = {k: v.clone() for k, v in model.state_dict().items() if k != 'attn_mask'}
        return {**own, 'visual.mask_embedding': classifier.mask_embedding.detach().clone()}

    before = state()
    round_through_half(model)
    after = state()
    assert set(before) == {*lists['rounded'], *lists['exact']}
    for key in lists['rounded']:
        assert torch.equal(after[key], before[key].half().float()) and not torch.equal(after[key], before[key]), key
    assert all(torch.equal(after[key], before[key]) for key in lists['exact'])
