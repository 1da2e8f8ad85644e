"""Batch-norm statistics of the final weights."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from generated import write_dataset
from mmengine.config import Config
from mmengine.hooks import EMAHook
from torch import Tensor, nn

from denseclip.engine.hooks import PreciseBNHook
from denseclip.engine.hooks.precise_bn import measure_batch_norm


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
        cfg=None,
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
