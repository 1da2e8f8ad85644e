"""Checks of weight loading, checkpoint layouts, preprocessing and schedules of DenseCLIP."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmcv.transforms import Resize
from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmengine.config import Config
from mmengine.optim import LinearLR, MultiStepLR, build_optim_wrapper
from mmengine.registry import MODELS, DefaultScope, init_default_scope
from mmseg.models.data_preprocessor import SegDataPreProcessor
from torch import Tensor, nn

from denseclip.clip.preprocess import PreprocessSpec
from denseclip.engine.schedulers import WarmupPolyLR
from denseclip.models.backbones import CLIPResNet, CLIPVisionTransformer
from denseclip.models.text_encoders import CLIPTextContextEncoder
from denseclip.weights import strip_prefix
from denseclip.weights.convert import convert

from .fixtures import Fixture, compare
from .registry import consumes
from .torchscript import write_torchscript

Shapes = dict[str, tuple[int, ...]]
CONFIGS = Path(__file__).parents[3] / 'configs' / 'denseclip'


def blocks(keys: Any, prefix: str) -> int:
    """Number of consecutive blocks ``prefix<N>.`` among state-dict names."""
    return len({m.group(1) for key in keys if (m := re.match(rf'{re.escape(prefix)}(\d+)\.', key))})


def loaded_modules(fixture: Fixture, shapes: Shapes, archive: str) -> dict[str, nn.Module]:
    """The module behind every ``out.<class>[_<resolution>].<key>``, initialised from the archive as a config would."""
    modules: dict[str, nn.Module] = {}
    for match in fixture.outputs(r'(CLIP[A-Za-z]+?)(_noembed)?(?:_(\d+))?\.(.+)'):
        name, resolution = match.group(1), int(match.group(3) or 224)
        label = match.group().split('.')[0]
        if label in modules:
            continue
        if name.startswith('CLIPText'):
            modules[label] = text_module(shapes, archive, fixture.tensors[f'out.{label}.positional_embedding'].shape[0])
        elif name == 'CLIPVisionTransformer':
            modules[label] = vit_module(shapes, archive, resolution, with_pixel_text=match.group(2) is None)
        else:
            modules[label] = resnet_module(shapes, archive, resolution, with_pixel_text=name.endswith('Attention'))
        modules[label].init_weights()
    return modules


def text_module(shapes: Shapes, archive: str, context_length: int) -> nn.Module:
    width, embed_dim = shapes['text_projection']
    return CLIPTextContextEncoder(
        context_length=context_length,
        vocab_size=shapes['token_embedding.weight'][0],
        embed_dim=embed_dim,
        transformer_width=width,
        transformer_heads=1,  # leaves no trace in the weights
        transformer_layers=blocks(shapes, 'transformer.resblocks.'),
        pretrained=archive,
    )


def vit_module(shapes: Shapes, archive: str, resolution: int, with_pixel_text: bool) -> nn.Module:
    width, embed_dim = shapes['visual.proj']
    layers = blocks(shapes, 'visual.transformer.resblocks.')
    return CLIPVisionTransformer(
        input_resolution=resolution,
        patch_size=shapes['visual.conv1.weight'][-1],
        width=width,
        layers=layers,
        embed_dim=embed_dim,
        out_indices=range(layers - 4, layers),
        with_pixel_text=with_pixel_text,
        pretrained=archive,
    )


def resnet_module(shapes: Shapes, archive: str, resolution: int, with_pixel_text: bool) -> nn.Module:
    return CLIPResNet(
        layers=[blocks(shapes, f'visual.layer{stage}.') for stage in range(1, 5)],
        width=shapes['visual.conv3.weight'][0],
        embed_dim=shapes['visual.attnpool.c_proj.weight'][0],
        input_resolution=resolution,
        heads=1,  # leaves no trace in the weights
        with_pixel_text=with_pixel_text,
        pretrained=archive,
    )


def archive_state(fixture: Fixture) -> dict[str, Tensor]:
    """State dict of the fixture's OpenAI archive; what it leaves out is filled with zeros of the listed shapes.

    Of a ViT only some channels of the tables are stored (the resize is per channel), and it may have fewer blocks than
    a pyramid needs: blocks are then repeated.
    """
    stored = strip_prefix(fixture.tensors, 'in.openai.')
    shapes = fixture.manifest['results'].get('checkpoint_keys', {k: list(v.shape) for k, v in stored.items()})
    state = {key: torch.zeros(shape) for key, shape in shapes.items()}
    for key, value in stored.items():
        if value.shape == state[key].shape:
            state[key] = value
        else:
            state[key][..., : value.shape[-1]] = value
    block = 'visual.transformer.resblocks.'
    for index in range(blocks(state, block), 4 if 'visual.proj' in state else 0):
        state.update({f'{block}{index}.{k}': v for k, v in strip_prefix(state, f'{block}0.').items()})
    return state


@consumes('denseclip', 'openai_load')
def check_openai_load(fixture: Fixture) -> None:
    init_default_scope('mmseg')
    state = archive_state(fixture)
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    with tempfile.TemporaryDirectory() as folder:
        archive = write_torchscript(state, Path(folder) / 'archive.pt', half=False)
        modules = loaded_modules(fixture, shapes, archive)
    for label, module in modules.items():
        place = 'text_encoder.' if 'Text' in label else 'backbone.'
        own = convert({place + k: v for k, v in module.state_dict().items()}, 'denseclip', inverse=True)
        for match in fixture.outputs(rf'{label}\.(.+)'):
            value, expected = own[place + match.group(1)], fixture.tensors[f'out.{match.group()}']
            fixture.expect(match.group(), value[..., : expected.shape[-1]])


@consumes('denseclip', 'preprocess')
def check_preprocess(fixture: Fixture) -> None:
    picture = fixture.input('img_bgr').numpy()
    for task in ('seg', 'det'):
        meta = fixture.manifest[f'{task}_meta']
        scale = tuple(fixture.manifest[f'{task}_img_scale'])
        results = Resize(scale=scale, keep_ratio=True)(dict(img=picture, img_shape=picture.shape[:2]))
        assert list(results['img_shape'][:2]) == meta['img_shape'][:2]
        height, width = meta['scale_factor'][1], meta['scale_factor'][0]
        assert np.allclose(results['scale_factor'], (width, height), atol=1e-6)
        spec = PreprocessSpec().as_255()
        assert np.allclose([spec['mean'], spec['std']], [meta['img_norm_cfg']['mean'], meta['img_norm_cfg']['std']])
        image = torch.from_numpy(np.ascontiguousarray(results['img'].transpose(2, 0, 1)))
        fixture.expect(f'{task}_test_img', normalised(task, image, spec))


def normalised(task: str, image: Tensor, spec: dict[str, list[float]]) -> Tensor:
    """Picture as the model sees it, from the task's own data preprocessor."""
    if task == 'seg':
        preprocessor: nn.Module = SegDataPreProcessor(**spec, bgr_to_rgb=True)
        return preprocessor(dict(inputs=[image], data_samples=None), False)['inputs'][0]
    preprocessor = DetDataPreprocessor(**spec, bgr_to_rgb=True, pad_size_divisor=32)
    return preprocessor(dict(inputs=[image]), False)['inputs'][0]


def numbers(text: str, pattern: str) -> list[float]:
    match = re.search(pattern, text)
    assert match, f'cannot read "{text}"'
    return [float(group) for group in match.groups()]


@consumes('denseclip', 'lr_schedules')
def check_lr_schedules(fixture: Fixture) -> None:
    poly, step = fixture.manifest['seg_poly'], fixture.manifest['det_step']
    number = r'([\d.e+-]+)'
    power, floor = numbers(poly['config'], rf'power {number} min_lr {number}')
    warmup, ratio, total = numbers(poly['config'], rf'warmup {number} iters ratio {number}, max_iters {number}')
    compare_schedule(
        fixture,
        poly,
        lambda optimizer: [
            WarmupPolyLR(
                optimizer, eta_min=floor, power=power, warmup=int(warmup), warmup_ratio=ratio, begin=0, end=int(total)
            )
        ],
    )
    first, second, gamma = numbers(step['config'], rf'step \[{number}, {number}\] epochs gamma {number}')
    warmup, ratio = numbers(step['config'], rf'warmup {number} iters ratio {number}')
    (epoch,) = numbers(step['config'], rf'epoch length here {number}')
    milestones = [int(first * epoch), int(second * epoch)]
    compare_schedule(
        fixture,
        step,
        lambda optimizer: [
            LinearLR(optimizer, start_factor=ratio, by_epoch=False, begin=0, end=int(warmup) + 1),
            MultiStepLR(optimizer, milestones=milestones, gamma=gamma, by_epoch=False),
        ],
    )


def compare_schedule(fixture: Fixture, case: dict[str, Any], make: Any) -> None:
    """Run a schedule over all iterations and compare the rates at those that the fixture lists."""
    groups = [dict(params=[nn.Parameter(torch.zeros(1))], lr=lr) for lr in case['base_lrs']]
    optimizer = torch.optim.SGD(groups)
    schedulers = make(optimizer)
    expected = dict(zip(case['iters'], case['lr'], strict=True))
    for iteration in range(max(expected) + 1):
        if iteration in expected:
            rates = torch.tensor([g['lr'] for g in optimizer.param_groups], dtype=torch.float64)
            wanted = torch.tensor(expected[iteration], dtype=torch.float64)
            problem = compare(rates, wanted, {'atol': 1e-15, **fixture.manifest['tolerance']})
            assert problem is None, f'{fixture.id} iteration {iteration}: {problem}'
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()


def our_config(name: str) -> Config:
    """Our config of an authors' segmentation config, by the parts of its name."""
    match = re.fullmatch(r'(denseclip_fpn|fpn_clip)_?(res\d+|vit-b)_(\d+x\d+)_80k', name)
    assert match, f'no config of ours is known for {name}'
    method = 'denseclip_fpn' if match.group(1) == 'denseclip_fpn' else 'fpn'
    tower = {'vit-b': 'vit-b16'}.get(match.group(2), match.group(2).replace('res', 'r'))
    return Config.fromfile(CONFIGS / f'{method}_clip-{tower}_80k_ade20k-{match.group(3)}.py')


@consumes('denseclip', 'full_size_layouts/denseclip', 'full_size_layouts/fpn')
def check_full_size_layout(fixture: Fixture) -> None:
    expect_layout(fixture, our_config(fixture.name.split('/')[-1]))


def expect_layout(fixture: Fixture, config: Config) -> None:
    """Names, shapes, counts and optimizer groups of a config's model are those of the authors' model."""
    if 'text_encoder' in config.model:
        config.model.text_encoder.frozen = False  # the authors leave it a rate of zero instead
    manifest = fixture.manifest
    with torch.device('meta'), DefaultScope.overwrite_default_scope(config.default_scope):
        model = MODELS.build(config.model)
    state = convert(model.state_dict(), 'denseclip', inverse=True)
    layout = {key: [list(value.shape), str(value.dtype).removeprefix('torch.')] for key, value in state.items()}
    assert layout == manifest['state_dict']
    assert list(convert(state, 'denseclip')) == list(model.state_dict())
    children = {name: sum(p.numel() for p in child.parameters()) for name, child in model.named_children()}
    assert {name: children[name] for name in manifest['num_params_by_child']} == manifest['num_params_by_child']
    assert sum(p.numel() for p in model.parameters()) == manifest['num_params_total']
    assert parameter_groups(model, config.optim_wrapper) == {k: sorted(v) for k, v in manifest['param_groups'].items()}


def parameter_groups(model: nn.Module, optim_wrapper: Any) -> dict[str, list[str]]:
    """Names (the authors') of the parameters in every pair of learning rate and weight decay."""
    names = {id(p): key for key, p in model.named_parameters()}
    groups: dict[str, list[str]] = {}
    for group in build_optim_wrapper(model, optim_wrapper).optimizer.param_groups:
        label = f'lr={group["lr"]:g},wd={group["weight_decay"]:g}'
        ours = {names[id(p)]: torch.zeros(()) for p in group['params']}
        groups.setdefault(label, []).extend(convert(ours, 'denseclip', inverse=True))
    return {label: sorted(keys) for label, keys in groups.items()}
