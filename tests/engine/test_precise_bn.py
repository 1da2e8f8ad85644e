"""Batch-norm statistics of the final weights."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from generated import write_dataset
from mmengine.config import Config
from mmengine.hooks import EMAHook
from mmengine.registry import MODELS
from mmengine.runner import Runner
from mmengine.structures import InstanceData, PixelData
from mmseg.structures import SegDataSample
from PIL import Image
from torch import Tensor, distributed, nn
from two_ranks import two_ranks

from denseclip.engine.data.samples import DamagedSampleError, NamedPipeline
from denseclip.engine.hooks import PreciseBNHook
from denseclip.engine.hooks.precise_bn import measure_batch_norm, same_sized


class Model(nn.Module):
    """A learning layer, a frozen one and dropout behind them, so that a pass draws random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.frozen = nn.BatchNorm1d(3, momentum=0.3), nn.BatchNorm1d(3)
        self.train()
        self.frozen.eval()

    def data_preprocessor(self, batch: Tensor, training: bool) -> dict[str, Tensor]:
        assert training
        return {'inputs': batch}

    def forward(self, inputs: Tensor, mode: str) -> dict[str, Tensor]:
        assert mode == 'loss' and not torch.is_grad_enabled()
        return {'loss': nn.functional.dropout(self.frozen(self.norm(inputs)), 0.5).sum()}


@pytest.fixture
def batches() -> list[Tensor]:
    return list(torch.randn(4, 16, 3, generator=torch.Generator().manual_seed(0)) * 5 + 2)


def test_statistics_are_the_mean_over_the_batches(batches: list[Tensor]) -> None:
    model = Model()
    assert measure_batch_norm(model, batches) == 1
    assert torch.allclose(model.norm.running_mean, torch.stack(batches).mean(dim=(0, 1)), atol=1e-6)
    assert torch.allclose(model.norm.running_var, torch.stack([b.var(dim=0) for b in batches]).mean(dim=0), atol=1e-5)
    assert model.norm.momentum == 0.3
    assert torch.equal(model.frozen.running_mean, torch.zeros(3))


def run(hook: PreciseBNHook, iterations: range, batches: list[Tensor]) -> Model:
    model = Model()
    runner: Any = SimpleNamespace(
        model=model,
        max_iters=5,
        hooks=[],
        cfg=Config({'train_cfg': {}}),
        build_dataloader=lambda config, seed: batches,
        logger=SimpleNamespace(info=lambda text: None),
    )
    hook.before_train(runner)
    for runner.iter in iterations:
        hook.after_train_iter(runner, runner.iter)
    return model


def test_measures_after_the_last_iteration_only_and_draws_nothing_outside(batches: list[Tensor]) -> None:
    hook = PreciseBNHook(dataloader={'batch_size': 4})
    assert torch.equal(run(hook, range(4), batches).norm.running_mean, torch.zeros(3))
    before = torch.get_rng_state()
    assert not torch.equal(run(hook, range(5), batches).norm.running_mean, torch.zeros(3))
    assert torch.equal(torch.get_rng_state(), before)


def test_no_moving_average_beside_it() -> None:
    with pytest.raises(ValueError, match='use one of them'):
        PreciseBNHook(dataloader={'batch_size': 4}).before_train(SimpleNamespace(hooks=[EMAHook()]))


def test_the_training_set_is_read_as_testing_reads() -> None:
    config = Config(
        {
            'train_dataloader': {
                'num_workers': 1,
                'dataset': {'type': 'Set', 'data_root': 'mine', 'pipeline': ['crop']},
            },
            'test_dataloader': {'dataset': {'type': 'Set', 'data_root': 'other', 'pipeline': ['whole']}},
        }
    )
    loader = PreciseBNHook(batch_size=3).loader_config(config)
    assert (loader['batch_size'], loader['num_workers']) == (3, 1)
    assert loader['dataset'] == {'type': 'Set', 'data_root': 'mine', 'pipeline': ['whole']}
    assert config.train_dataloader.dataset.pipeline == ['crop']


def test_data_sets_are_taken_out_of_wrappers() -> None:
    first, second = ({'type': 'Set', 'data_root': name, 'pipeline': ['crop']} for name in 'ab')
    both = {'type': 'ConcatDataset', 'datasets': [first, {'type': 'Repeat', 'dataset': second}], 'ignore_keys': ['x']}
    whole = [{**part, 'pipeline': ['whole']} for part in (first, second)]
    for wrapped, expected in (
        ({'type': 'RepeatDataset', 'times': 9, 'dataset': first}, whole[0]),
        (both, {'type': 'ConcatDataset', 'datasets': whole, 'ignore_keys': ['x']}),
        ({'type': 'RepeatDataset', 'dataset': both}, {'type': 'ConcatDataset', 'datasets': whole}),
    ):
        testing = {'type': 'ConcatDataset', 'datasets': [{'type': 'Set', 'pipeline': ['whole']}] * 2}
        config = Config({'train_dataloader': {'dataset': wrapped}, 'test_dataloader': {'dataset': testing}})
        assert PreciseBNHook().loader_config(config)['dataset'] == expected
        assert config.train_dataloader.dataset == wrapped


def test_pictures_of_several_sizes_weigh_alike() -> None:
    """Groups of one size, weighed by their number: as if every picture had gone through alone."""
    model: Any = nn.Sequential(nn.BatchNorm2d(3), nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(3)).train()
    model.data_preprocessor = lambda batch, training: {'inputs': torch.stack(batch['inputs'])}
    plain = model.forward
    model.forward = lambda inputs, mode: {'loss': plain(inputs).sum()}
    generator = torch.Generator().manual_seed(0)
    pictures = [torch.randn(3, *size, generator=generator) for size in [(8, 6)] * 3 + [(6, 8)] * 2 + [(5, 5)]]
    known = model[2].running_var.clone()
    batches = [
        {'inputs': [pictures[i] for i in order], 'data_samples': list(order)} for order in ((0, 3, 1), (2, 4, 5))
    ]
    assert measure_batch_norm(model, batches) == 2
    means = torch.stack([picture.mean(dim=(1, 2)) for picture in pictures])
    assert torch.allclose(model[0].running_mean, means.mean(dim=0), atol=1e-6)
    assert model[0].momentum == 0.1 and model[2].training and not model[2]._forward_pre_hooks
    # the layer behind the pooling measures the only group of two, and is no worse for the single pictures
    assert not torch.equal(model[2].running_var, known) and bool((model[2].running_var > 0).all())
    before = model[2].running_var.clone()
    measure_batch_norm(model, [{'inputs': [picture]} for picture in pictures])
    assert torch.equal(model[2].running_var, before)


def segmentor() -> Any:
    return MODELS.build(
        {
            'type': 'mmseg.EncoderDecoder',
            'data_preprocessor': {'type': 'mmseg.SegDataPreProcessor', 'size_divisor': 32},
            'backbone': {
                'type': 'mmseg.ResNetV1c', 'depth': 18, 'base_channels': 4, 'stem_channels': 4,
                'norm_cfg': {'type': 'BN'},
            },
            'decode_head': {
                'type': 'mmseg.FCNHead', 'in_channels': 32, 'in_index': 3, 'channels': 8, 'num_convs': 1,
                'num_classes': 3, 'norm_cfg': {'type': 'BN'},
            },
        }
    ).train()  # fmt: skip


def photos(folder: Path, *sizes: tuple[int, int]) -> dict[str, Any]:
    """A data set whose pictures are brought to one height before their label maps are read."""
    generator = np.random.default_rng(0)
    for kind in ('pictures', 'labels'):
        (folder / kind).mkdir()
    for number, (height, width) in enumerate(sizes):
        pixels = generator.integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(folder / 'pictures' / f'{number}.jpg')
        Image.fromarray(pixels[..., 0] % 3).save(folder / 'labels' / f'{number}.png')
    return {
        'type': 'mmseg.BaseSegDataset', 'data_root': str(folder), 'metainfo': {'classes': ('a', 'b', 'c')},
        'data_prefix': {'img_path': 'pictures', 'seg_map_path': 'labels'},
        'pipeline': [
            {'type': 'LoadImageFromFile'}, {'type': 'Resize', 'scale': (256, 32), 'keep_ratio': True},
            {'type': 'mmseg.LoadAnnotations'}, {'type': 'mmseg.PackSegInputs'},
        ],
    }  # fmt: skip


def a_runner(dataset: dict[str, Any], hook: PreciseBNHook, **train_cfg: Any) -> Any:
    config = Config(
        {
            'train_cfg': train_cfg,
            'train_dataloader': {'dataset': dataset},
            'test_dataloader': {'dataset': dataset},
        }
    )
    return SimpleNamespace(
        model=segmentor(), hooks=[hook], cfg=config, iter=4, max_iters=5,
        build_dataloader=Runner.build_dataloader, logger=SimpleNamespace(info=lambda text: None),
    )  # fmt: skip


def test_label_maps_of_other_sizes_than_their_pictures(tmp_path: Path) -> None:
    """Photographs of one shape and several resolutions: equal inputs, unequal labels."""
    hook = PreciseBNHook(batch_size=2)
    runner = a_runner(photos(tmp_path, (48, 64), (96, 128)), hook)
    before = {name: value.clone() for name, value in runner.model.state_dict().items()}
    hook.before_train(runner)
    assert all(torch.equal(value, before[name]) for name, value in runner.model.state_dict().items())
    hook.after_train_iter(runner, 4)
    assert not torch.equal(
        runner.model.backbone.layer4[1].bn2.running_mean, before['backbone.layer4.1.bn2.running_mean']
    )


def test_what_the_model_cannot_take_is_said_before_the_first_iteration(tmp_path: Path) -> None:
    hook = PreciseBNHook(batch_size=2)
    runner = a_runner(photos(tmp_path, (48, 64)), hook)
    runner.model.decode_head.loss_by_feat = lambda *args: {}['labels']
    with pytest.raises(ValueError, match=r"PreciseBNHook cannot .*KeyError: 'labels'.*custom_hooks"):
        hook.before_train(runner)


def test_damaged_pictures_are_skipped_here_too(tmp_path: Path) -> None:
    hook = PreciseBNHook(batch_size=3)
    dataset = photos(tmp_path, (48, 64), (48, 64), (48, 64))
    (tmp_path / 'pictures' / '1.jpg').write_bytes(b'')
    seen: list[int] = []

    def build(config: Any, seed: int) -> Any:
        loader = Runner.build_dataloader(config, seed=seed)
        loader.dataset.pipeline = NamedPipeline(loader.dataset.pipeline)  # as SuiteRunner does
        return loader

    for on_damaged in ('skip', 'stop'):
        runner = a_runner(dataset, hook, on_damaged=on_damaged)
        runner.build_dataloader = build
        runner.model.register_forward_pre_hook(
            lambda module, args, inputs: seen.append(len(inputs['inputs'])), with_kwargs=True
        )
        if on_damaged == 'stop':
            with pytest.raises(DamagedSampleError, match='1.jpg'):
                hook.before_train(runner)
        else:
            hook.before_train(runner)
            hook.after_train_iter(runner, 4)
    assert seen == [3, 3]


def test_masks_follow_their_pictures() -> None:
    sample = SegDataSample(metainfo={'img_path': 'x.jpg'})
    sample.gt_panoptic_seg = PixelData(metainfo={'segments_info': [1]}, data=torch.arange(4).view(1, 2, 2))
    sample.gt_instances = InstanceData(labels=torch.tensor([5]), masks=torch.eye(2, dtype=torch.bool)[None])
    [(group, share)] = same_sized({'inputs': [torch.zeros(3, 4, 6)], 'data_samples': [sample]})
    fitted = group['data_samples'][0]
    rows = [[0, 0, 0, 1, 1, 1]] * 2 + [[2, 2, 2, 3, 3, 3]] * 2
    assert share == 1 and fitted.gt_panoptic_seg.data.tolist() == [rows]
    assert fitted.gt_panoptic_seg.segments_info == [1] and fitted.img_path == 'x.jpg'
    assert fitted.gt_instances.masks.long().tolist() == [[[int(v in (0, 3)) for v in row] for row in rows]]
    assert sample.gt_panoptic_seg.data.shape == (1, 2, 2) and sample.gt_instances.masks.shape == (1, 2, 2)


def _passes() -> tuple[int, list[float]]:
    """Passes of a rank; the second rank's pictures have three sizes, the first one's only one."""
    model: Any = nn.Sequential(nn.BatchNorm2d(3)).train()
    model.data_preprocessor = lambda batch, training: {'inputs': torch.stack(batch['inputs'])}
    plain, count = model.forward, []
    model.forward = lambda inputs, mode: count.append(plain(inputs).sum())
    sizes = [(4, 4)] * 3 if distributed.get_rank() == 0 else [(4, 4), (4, 5), (5, 5)]
    pictures = [torch.full((3, *size), float(n + distributed.get_rank())) for n, size in enumerate(sizes)]
    measure_batch_norm(model, [{'inputs': pictures}])
    return len(count), model[0].running_mean.tolist()


def test_processes_make_as_many_passes(tmp_path: Path) -> None:
    for passes, mean in two_ranks(_passes, tmp_path):
        assert passes == 3 and mean == pytest.approx([1.5] * 3)


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('wrap', ['concat', 'repeat', 'both'])
def test_wrapped_data_sets_train_to_the_end(
    train_segmentor: Any, street_options: dict[str, Any], tmp_path: Path, wrap: str
) -> None:
    part = Config.fromfile(Path(__file__).with_name('toy_fpn.py')).train_dataloader.dataset
    roots = [street_options['train_dataloader.dataset.data_root'], str(tmp_path / 'tall')]
    write_dataset('camvid', roots[1], num_train=3, num_val=1, size=(64, 40))  # pictures of another size
    parts = [{**part.to_dict(), 'data_root': root} for root in roots]
    concat = {'type': 'ConcatDataset', 'datasets': parts}
    dataset = {
        'concat': concat,
        'repeat': {'type': 'RepeatDataset', 'times': 2, 'dataset': parts[1]},
        'both': {'type': 'RepeatDataset', 'times': 2, 'dataset': concat},
    }[wrap]
    overrides = {
        'train_dataloader.dataset': {'_delete_': True, **dataset},
        'train_cfg.max_iters': 2,
        'train_cfg.val_interval': 2,
        'model.backbone.norm_cfg': {'_delete_': True, 'type': 'BN'},
        'custom_hooks': [{'type': 'PreciseBNHook', 'batch_size': 4}],
    }
    runner = train_segmentor(tmp_path / 'work', **overrides)
    assert runner.iter == 2 and len(runner.train_dataloader.dataset) == {'concat': 9, 'repeat': 6, 'both': 18}[wrap]
    assert 0 <= runner.message_hub.get_scalar('val/mIoU').current() <= 100
    assert all(torch.isfinite(value).all() for value in runner.model.state_dict().values())


def test_what_cannot_be_done_at_the_end_is_said_at_the_start() -> None:
    config = Config(
        {
            'train_dataloader': {'dataset': {'type': 'Odd', 'parts': []}},
            'test_dataloader': {'dataset': {'type': 'Set', 'pipeline': []}},
        }
    )
    with pytest.raises(ValueError, match='Odd.*dataloader='):
        PreciseBNHook().before_train(SimpleNamespace(hooks=[], cfg=config))


def test_wrapped_data_sets_need_a_data_loader() -> None:
    config = Config(
        {
            'train_dataloader': {'dataset': {'type': 'RepeatDataset', 'dataset': {'pipeline': []}}},
            'test_dataloader': {'dataset': {'type': 'Set', 'pipeline': []}},
        }
    )
    with pytest.raises(ValueError, match='RepeatDataset.*dataloader='):
        PreciseBNHook().loader_config(config)
