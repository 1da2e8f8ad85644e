"""OVSeg as a whole: built from the overrides and weights of a fixture, its losses and its results."""

from __future__ import annotations

import math
import re
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.structures import InstanceData
from mmseg.structures import SegDataSample
from torch import Tensor

from denseclip.models.functional.text_logits import text_logits
from denseclip.models.segmentors.ovseg import OVSeg
from denseclip.weights import load_into
from denseclip.weights.convert import convert

from .fixtures import Fixture
from .ovseg_stage1 import memory_of
from .registry import consumes

TOKENS = 'clip_adapter.clip_model.token_embedding.weight'
State = dict[str, Tensor]


def full_state(weights: Fixture) -> State:
    """Weights of a whole model; the rows of the token table that the fixture leaves out are zero."""
    state = weights.state()
    rows = state.pop(f'{TOKENS}.rows')
    state[TOKENS] = torch.zeros(49408, rows.shape[1])
    state[TOKENS][weights.input('token_row_ids').long()] = rows
    return state


def count(state: State, pattern: str) -> int:
    """How many different numbers a part of the names has."""
    return len({match[1] for key in state if (match := re.match(pattern, key))})


def backbone_config(state: State) -> dict[str, Any]:
    """Config of the backbone that these weights belong to."""
    if 'backbone.patch_embed.proj.weight' not in state:
        units = tuple(count(state, rf'backbone\.res{stage}\.(\d+)\.') for stage in range(2, 6))
        return dict(
            type='ResNetV1c',
            depth={(3, 4, 6, 3): 50, (3, 4, 23, 3): 101, (3, 8, 36, 3): 152}[units],
            stem_channels=state['backbone.stem.conv3.weight'].shape[0],
            base_channels=state['backbone.res2.0.conv1.weight'].shape[0],
            strides=(1, 2, 2, 2),
            dilations=(1, 1, 1, 1),
            multi_grid=(1, 2, 4),
            contract_dilation=False,
            style='pytorch',
            norm_cfg=dict(type='BN', requires_grad=False),
            norm_eval=True,
            frozen_stages=1,
        )
    stages = range(count(state, r'backbone\.layers\.(\d+)\.'))
    tables = [state[f'backbone.layers.{i}.blocks.0.attn.relative_position_bias_table'] for i in stages]
    return dict(
        type='SwinTransformer',
        embed_dims=state['backbone.patch_embed.proj.weight'].shape[0],
        patch_size=state['backbone.patch_embed.proj.weight'].shape[-1],
        depths=[count(state, rf'backbone\.layers\.{i}\.blocks\.(\d+)\.') for i in stages],
        num_heads=[table.shape[1] for table in tables],
        window_size=(int(tables[0].shape[0] ** 0.5) + 1) // 2,
        drop_path_rate=0.0,
    )


def stage_channels(state: State) -> list[int]:
    """Channels of the backbone's maps, as the pixel decoder takes them."""
    levels = count(state, r'sem_seg_head\.pixel_decoder\.layer_(\d+)\.')
    names = [*(f'adapter_{i}' for i in range(1, levels)), f'layer_{levels}']
    return [state[f'sem_seg_head.pixel_decoder.{name}.weight'].shape[1] for name in names]


def head_config(state: State, overrides: dict[str, Any]) -> dict[str, Any]:
    """Config of the mask generator; what leaves no trace in the weights comes from the overrides."""
    predictor, pixels = 'sem_seg_head.predictor.', 'sem_seg_head.pixel_decoder.'
    decoder = f'{predictor}transformer.decoder.layers.'
    queries = state[f'{predictor}query_embed.weight']
    return dict(
        in_channels=stage_channels(state),
        feat_channels=state[f'{pixels}mask_features.weight'].shape[1],
        mask_dim=state[f'{pixels}mask_features.weight'].shape[0],
        dim=queries.shape[1],
        num_queries=queries.shape[0],
        num_heads=overrides.get('MODEL__MASK_FORMER__NHEADS', 8),
        ffn_dim=state[f'{decoder}0.linear1.weight'].shape[0],
        encoder_layers=count(state, rf'{re.escape(predictor)}transformer\.encoder\.layers\.(\d+)\.'),
        decoder_layers=count(state, rf'{re.escape(decoder)}(\d+)\.'),
        pixel_encoder_layers=count(state, rf'{re.escape(pixels)}transformer\.encoder\.layers\.(\d+)\.'),
        pre_norm=overrides.get('MODEL__MASK_FORMER__PRE_NORM', False),
        project_input=overrides.get('MODEL__MASK_FORMER__ENFORCE_INPUT_PROJ', False),
        memory=memory_of(overrides.get('MODEL__MASK_FORMER__TRANSFORMER_IN_FEATURE', 'res5')),
        dropout=overrides.get('MODEL__MASK_FORMER__DROPOUT', 0.1),
        embed_hidden_dim=state[f'{predictor}class_embed.layers.0.weight'].shape[0],
        embed_layers=count(state, rf'{re.escape(predictor)}class_embed\.layers\.(\d+)\.'),
        criterion=dict(
            class_weight=overrides.get('MODEL__MASK_FORMER__CLASS_WEIGHT', 1.0),
            mask_weight=overrides.get('MODEL__MASK_FORMER__MASK_WEIGHT', 20.0),
            dice_weight=overrides.get('MODEL__MASK_FORMER__DICE_WEIGHT', 1.0),
            no_object_weight=overrides.get('MODEL__MASK_FORMER__NO_OBJECT_WEIGHT', 0.1),
        ),
    )


def clip_config(clip: dict[str, Any], state: State) -> dict[str, Any]:
    """The small CLIP that a fixture describes, under settings of open_clip."""
    side = math.isqrt(state['clip_adapter.clip_model.visual.positional_embedding'].shape[0] - 1)
    vision = dict(image_size=side * clip['patch'], patch_size=clip['patch'], width=clip['vw'], layers=clip['vl'])
    vision['head_width'] = clip['vw'] // clip['vh']
    text = dict(width=clip['tw'], heads=clip['th'], layers=clip['tl'], vocab_size=state[TOKENS].shape[0])
    return dict(model='ViT-B-16', quick_gelu=True, arch=dict(embed_dim=clip['embed'], vision_cfg=vision, text_cfg=text))


def build_model(weights: Fixture, user: Fixture | None = None, **settings: Any) -> OVSeg:
    """An ``OVSeg`` in evaluation mode with the weights of a fixture.

    Args:
        weights: The ``e2e_weights`` fixture.
        user: The fixture that uses them; its overrides hold, of settings and of weights.
        settings: Arguments of ``OVSeg``.
    """
    config = {**weights.config, **(user.config if user else {})}
    state = {**full_state(weights), **(user.state() if user else {})}
    overrides = {**weights.config['overrides'], **config['overrides']}
    backbone = backbone_config(state)
    mean, std = ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])
    model = OVSeg(
        backbone,
        head_config(state, overrides),
        clip_config(config['clip'], state),
        data_preprocessor=dict(
            type='SegDataPreProcessor',
            mean=config.get('pixel_mean', mean),
            std=config.get('pixel_std', std),
            test_cfg=dict(size_divisor=config.get('size_divisibility', 32)),
            size_divisor=config.get('size_divisibility', 32),
        ),
        **{
            'region_classifier': dict(
                threshold=config.get('mask_thr', overrides.get('MODEL__CLIP_ADAPTER__MASK_THR', 0.4)),
                fill=overrides.get('MODEL__CLIP_ADAPTER__MASK_FILL', 'mean'),
                expand=overrides.get('MODEL__CLIP_ADAPTER__MASK_EXPAND_RATIO', 1.0),
                matting=overrides.get('MODEL__CLIP_ADAPTER__MASK_MATTING', False),
                prompt_depth=config['clip']['depth'],
            ),
            **settings,
        },
    )
    ours = convert(state, 'ovseg')
    if model.region_classifier is None:
        ours = {key: value for key, value in ours.items() if not key.startswith('region_classifier.')}
    load_into(model, ours, source=weights.id, ignore=('decode_head.criterion.',))
    model.eval()
    return model


@consumes('ovseg', 'e2e_weights')
def check_weights(fixture: Fixture) -> None:
    """Their whole checkpoint goes into ours without a rest, and comes out again as it was."""
    model = build_model(fixture)
    theirs = full_state(fixture)
    scale = theirs['clip_adapter.clip_model.logit_scale'].exp()
    classes = theirs['criterion.empty_weight'].shape[0] - 1
    no_object = float(theirs['criterion.empty_weight'][-1])
    again = convert(
        model.state_dict(), 'ovseg', inverse=True, num_classes=classes, no_object_weight=no_object, logit_scale=scale
    )
    left = {key for key in again if key not in theirs}
    assert all(key.endswith(('relative_position_index', 'num_batches_tracked')) for key in left), left
    for key, value in theirs.items():
        assert again[key].shape == value.shape, key
        torch.testing.assert_close(again[key], value, rtol=1e-6, atol=1e-6 if 'pixel_' not in key else 1e-4, msg=key)


def text_of(model: OVSeg) -> tuple[Tensor, Tensor]:
    """Text rows with "no object", names per class."""
    with torch.no_grad():
        return model.text_rows()


@consumes('ovseg', 'e2e_train')
def check_training(fixture: Fixture) -> None:
    config = fixture.config
    weights = fixture_of_weights(fixture)
    model = build_model(weights, fixture, region_classifier=None)
    model.set_vocabulary(config['class_names'])
    images = [image for _, image in fixture.inputs('image')]
    samples = []
    for index, image in enumerate(images):
        instances = InstanceData(
            labels=fixture.input(f'gt_classes{index}'), masks=fixture.input(f'gt_masks{index}').bool()
        )
        sample = SegDataSample(metainfo=dict(img_shape=tuple(image.shape[1:])))
        sample.gt_instances = instances
        samples.append(sample)
    inputs = normalised(model, torch.stack(images))
    losses = model.loss(inputs, samples)  # in evaluation mode: the fixture is without dropout
    for name, value in losses.items():
        fixture.expect(name, value)
    total = torch.stack(list(losses.values())).sum()
    fixture.expect('total', total)
    total.backward()
    check_gradients(fixture, model)


def check_gradients(fixture: Fixture, model: OVSeg) -> None:
    """Gradients under the authors' names, and their norm."""
    frozen = {name.split('.')[0] for name, p in model.named_parameters() if not p.requires_grad}
    assert 'text' in frozen and 'decode_head' not in frozen
    grads = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    theirs = convert(grads, 'ovseg', inverse=True)
    for match in fixture.outputs(r'grad\.(.+)'):
        fixture.expect(match[0].removeprefix('out.'), theirs[match[1]])
    fixture.expect('grad_norm', torch.stack([grad.norm() for grad in grads.values()]).norm())


def fixture_of_weights(fixture: Fixture) -> Fixture:
    """The fixture of shared weights that lies beside this one."""
    fixture.manifest.setdefault('sd_from', ['e2e_weights'])
    return fixture.sibling('e2e_weights')


def normalised(model: OVSeg, images: Tensor) -> Tensor:
    """What the data preprocessor makes of pictures in RGB."""
    samples = [SegDataSample() for _ in images]
    return model.data_preprocessor(dict(inputs=list(images.float()), data_samples=samples))['inputs']


@consumes('ovseg', 'e2e_eval')
def check_evaluation(fixture: Fixture) -> None:
    config = fixture.config
    weights = fixture_of_weights(fixture)
    weight = config['ensemble_weight']
    stages = 'both' if weight else 'second'  # a weight of 0 is their way to say so
    model = build_model(weights, fixture, ensemble_weight=weight, stages=stages, templates=config['templates'])
    model.set_vocabulary(config['class_names_raw'])
    assert list(model.vocabulary.names) == config['class_names']
    with torch.no_grad():
        check_first_stage(fixture, model)
        fixture.expect('sem_seg', scores(model, fixture))
        labels = model.predict(*request(model, fixture))[0].pred_sem_seg.data[0]
        fixture.expect('argmax', labels)
        model.region_classifier.use_prompts = False
        fixture.expect('sem_seg_noprompt', scores(model, fixture)[:, ::3, ::3])
        model.region_classifier.use_prompts = True
        for name, stages in (('ensemble_off', 'first'), ('clip_only', 'second')):
            model.stages = stages
            fixture.expect(f'sem_seg_{name}', scores(model, fixture)[:, ::3, ::3])


def request(model: OVSeg, fixture: Fixture) -> tuple[Tensor, list[SegDataSample]]:
    """The picture as the data preprocessor hands it over."""
    image = fixture.input('image')
    meta = dict(img_shape=tuple(image.shape[1:]), ori_shape=tuple(fixture.config['output_hw']))
    data = model.data_preprocessor(dict(inputs=[image.float()], data_samples=[SegDataSample(metainfo=meta)]))
    return data['inputs'], data['data_samples']


def scores(model: OVSeg, fixture: Fixture) -> Tensor:
    """Class scores at the original size."""
    model.keep_logits = True
    found = model.predict(*request(model, fixture))[0].seg_logits.data
    model.keep_logits = False
    return found


def check_first_stage(fixture: Fixture, model: OVSeg) -> None:
    """Everything before the second stage, and its logits for the masks that have a pixel."""
    inputs, samples = request(model, fixture)
    fixture.expect('padded_norm_image_s2', inputs[:, :, ::2, ::2])
    features = model.extract_feat(inputs)
    fixture.expect('res5', features[-1])
    proposals = model.propose(inputs, samples)
    assert proposals.class_embeddings is not None
    fixture.expect('class_embed', proposals.class_embeddings)
    fixture.expect('pred_masks', proposals.mask_logits)
    rows, names = text_of(model)
    fixture.expect('text', rows)
    log_scale = torch.tensor(100.0).log()
    fixture.expect('cls_logits', text_logits(proposals.class_embeddings, rows, names, log_scale)[0])
    height, width = fixture.input('image').shape[1:]
    masks = F.interpolate(proposals.mask_logits, size=inputs.shape[2:], mode='bilinear')[0, :, :height, :width]
    fixture.expect('mask_logits_s2', masks[:, ::2, ::2])
    classifier = model.region_classifier
    for name, prompts in (('clip_logits', True), ('clip_logits_noprompt', False)):
        classifier.use_prompts = prompts
        regions = classifier(fixture.input('image').float(), masks.sigmoid())
        fixture.expect('valid', regions.valid)
        fixture.expect(name, text_logits(regions.embeddings[None], rows, names, log_scale)[0][regions.valid])
    classifier.use_prompts = True
