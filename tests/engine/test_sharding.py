"""Two processes that spread a model train it as two that copy it, and read each other's checkpoints."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS
from open_clip.transformer import ResidualAttentionBlock
from torch import distributed, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from two_processes import in_two_processes
from two_ranks import two_ranks

from denseclip.clip.blocks import run_block
from denseclip.engine.config import OptionError
from denseclip.engine.launch import TrainOptions, train
from denseclip.engine.runner import SuiteRunner, _drop_empty_scales
from denseclip.engine.sharding import clip_norm, held_bytes, is_sharded, shard, touch


@MODELS.register_module()
class BlocksNet(BaseModel):
    """What sharding has to get right: called blocks, a scalar, a frozen layer, few rows, batch norm, dropout."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.frozen = nn.Conv2d(3, 8, 2, stride=2).requires_grad_(False)
        self.norm = nn.BatchNorm2d(8)
        self.place = nn.Parameter(torch.zeros(1, 16, 8))
        self.blocks = nn.ModuleList(ResidualAttentionBlock(8, 2) for _ in range(2))
        self.head = nn.Linear(8, 2)
        self.text_encoder = nn.Linear(2, 2)
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, inputs: Any, data_samples: Any = None, mode: str = 'tensor') -> Any:
        """Loss or hits."""
        x = self.norm(self.frozen(torch.stack(list(inputs)))).flatten(2).transpose(1, 2) + self.place
        for block in self.blocks:
            x = run_block(block, x)
        x = nn.functional.dropout(x.mean(1), 0.2, self.training)
        logits = self.text_encoder(self.head(x)) * self.scale
        labels = torch.tensor([sample.label for sample in data_samples])
        if mode == 'loss':
            return {'loss': nn.functional.cross_entropy(logits, labels)}
        return [{'hit': bool(hit)} for hit in logits.argmax(1) == labels]


OVERRIDES: dict[str, Any] = {
    'model.type': 'BlocksNet',
    'optim_wrapper.optimizer.eps': 1e-5,  # the bias of keys has no gradient; Adam would make steps of its rounding
    'optim_wrapper.accumulative_counts': 2,
    'optim_wrapper.clip_grad': {'max_norm': 0.1},
    'optim_wrapper.paramwise_cfg': {'custom_keys': {'blocks': {'lr_mult': 0.1}}},
    'train_cfg.max_iters': 6,
    'default_hooks.checkpoint.interval': 2,
    'default_hooks.checkpoint.max_keep_ckpts': -1,
    'param_scheduler.1.end': 6,
}


def run(config: Path, folder: Path, fsdp: bool, resume: Path | None = None, **overrides: Any) -> Any:
    """One training in this process of two."""
    options = {**OVERRIDES, 'experiment_name': folder.name, **overrides}
    return train(
        config,
        TrainOptions(
            work_dir=str(folder),
            launcher='pytorch',
            fsdp=fsdp,
            overrides=options,
            resume=None if resume is None else str(resume),
        ),
    )


def every_way(config: Path, folder: Path) -> None:
    """Copied, spread, spread with blocks computed again, and resumed."""
    run(config, folder / 'copied', fsdp=False)
    model = run(config, folder / 'spread', fsdp=True).model
    parts = {name: p for name, p in model.named_parameters() if isinstance(p, DTensor)}
    assert {name for name, _ in model.named_parameters()} - set(parts) == {'scale'}
    held = sum(p.to_local().nbytes for p in parts.values()) + model.scale.nbytes
    whole = BlocksNet()
    assert held == held_bytes(whole, 2)['parameters'] < held_bytes(whole, 1)['parameters']
    assert is_sharded(model.blocks[0]) and is_sharded(model)
    assert parts['place'].to_local().numel() == parts['place'].numel() // 2  # one row, cut along another axis
    again = {'custom_hooks': [dict(type='ComputeHook', grad_checkpointing=True)]}
    run(config, folder / 'again', fsdp=True, **again)
    run(config, folder / 'resumed', fsdp=True, resume=folder / 'spread/iter_2.pth')
    with pytest.raises(OptionError, match='EMAHook'):
        run(config, folder / 'ema', fsdp=True, custom_hooks=[dict(type='EMAHook')])


@pytest.mark.slow
def test_spread_training_is_copied_training(toy_config: Path, train_toy: Any, tmp_path: Path) -> None:
    in_two_processes(every_way, toy_config, tmp_path)
    files = {run: torch.load(tmp_path / run / 'iter_6.pth', weights_only=True) for run in ('copied', 'spread', 'again')}
    weights = {run: file['state_dict'] for run, file in files.items()}
    assert list(weights['spread']) == list(weights['copied'])
    start = torch.load(tmp_path / 'copied/iter_2.pth', weights_only=True)['state_dict']
    assert not torch.equal(start['scale'], weights['copied']['scale'])
    for other in ('spread', 'again'):
        torch.testing.assert_close(weights[other], weights['copied'], rtol=0, atol=1e-6)
        moments = [files[run]['optimizer']['state'] for run in (other, 'copied')]
        torch.testing.assert_close(*moments, rtol=0, atol=1e-6)
    resumed = torch.load(tmp_path / 'resumed/iter_6.pth', weights_only=True)
    for part in ('state_dict', 'optimizer'):
        torch.testing.assert_close(resumed[part], files['spread'][part], rtol=0, atol=0)
    alone = train_toy(tmp_path / 'alone', resume=str(tmp_path / 'spread/iter_2.pth'), **OVERRIDES)
    assert alone.iter == 6


def most_whole_at_once() -> tuple[int, int, set[str]]:
    """Regions of a spread model, how many of them are whole at once in ``touch``, and what has no new version then."""
    model = shard(BlocksNet())
    regions = [module for module in model.modules() if isinstance(module, FSDPModule)]
    seen = [versions(region) for region in regions]
    whole, most = set(), 0
    unshard, reshard = FSDPModule.unshard, FSDPModule.reshard

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal most
        whole.add(self)
        most = max(most, len(whole))
        return unshard(self, *args, **kwargs)

    def given_back(self: Any) -> None:
        whole.discard(self)
        reshard(self)

    FSDPModule.unshard, FSDPModule.reshard = counted, given_back  # in this forked process alone
    touch(model)
    assert not whole and all(isinstance(p, DTensor) for p in model.parameters() if p.ndim)
    same = {
        name
        for before, region in zip(seen, regions, strict=True)
        for name, version in versions(region).items()
        if version == before[name]
    }
    return len(regions), most, same


def versions(region: Any) -> dict[str, int]:
    """Of a region's own parameters that are trained, whole."""
    region.unshard()
    own = {n: p._version for n, p in region.named_parameters() if p.requires_grad and not isinstance(p, DTensor)}
    region.reshard()
    return own


def test_touching_a_model_needs_room_for_one_region(tmp_path: Path) -> None:
    for regions, most, same in two_ranks(most_whole_at_once, tmp_path):
        assert regions > 1 and (most, same) == (1, set())


def clipped() -> list[str]:
    """What clipping says of a gradient that is infinite on the first rank alone, and what it leaves of gradients."""
    model = shard(nn.Linear(4, 4))
    said = []
    for options in ({'error_if_nonfinite': True}, {'foreach': False, 'norm_type': 'inf'}, {'for_each': True}):
        model.weight.grad = torch.ones_like(model.weight)
        if distributed.get_rank() == 0:
            model.weight.grad.to_local()[0, 0] = float('inf')
        try:
            said.append(str(clip_norm(model.parameters(), 0.5, **options)))
        except (RuntimeError, TypeError) as error:
            unscaled = model.weight.grad.to_local()[1].tolist() == [1.0] * 4
            said.append(f'{type(error).__name__} {unscaled}')
    return said


def test_options_of_clipping_mean_what_they_mean_in_plain_training(tmp_path: Path) -> None:
    assert two_ranks(clipped, tmp_path) == [['RuntimeError True', 'tensor(inf)', 'TypeError True']] * 2


@pytest.mark.parametrize(('enabled', 'refused'), [(False, False), (True, True)])
def test_loss_scales_are_refused_and_bfloat16_is_not(enabled: bool, refused: bool, tmp_path: Path) -> None:
    wrapper = OptimWrapper(torch.optim.SGD(BlocksNet().parameters(), lr=0.1))
    wrapper.loss_scaler = torch.amp.GradScaler('cpu', enabled=enabled)
    runner: Any = SimpleNamespace(hooks=[])
    with pytest.raises(OptionError, match='--precision bf16') if refused else nullcontext():
        SuiteRunner._require_shardable(runner, wrapper)


def test_one_process_spreads_nothing(toy_config: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match='torchrun'):
        train(toy_config, TrainOptions(work_dir=str(tmp_path), fsdp=True))
    with pytest.raises(OptionError, match='--compile'):
        train(toy_config, TrainOptions(work_dir=str(tmp_path), fsdp=True, launcher='pytorch', compile=True))
    overrides = {'model_wrapper_cfg': dict(type='Mine')}
    with pytest.raises(OptionError, match='Mine'):
        train(toy_config, TrainOptions(work_dir=str(tmp_path), fsdp=True, launcher='pytorch', overrides=overrides))


def test_a_state_without_a_scale_leaves_that_of_the_run_alone() -> None:
    """A run in bfloat16 has none; PyTorch's scalers refuse the empty state."""
    inner = {'state': {0: {'step': 1}}, 'loss_scaler': {}}
    several = {'one': dict(inner), 'two': {'state': {}, 'loss_scaler': {'scale': 2.0}}}
    _drop_empty_scales(several)
    _drop_empty_scales(inner)
    _drop_empty_scales(None)
    assert inner == several['one'] == {'state': {0: {'step': 1}}}
    assert several['two'] == {'state': {}, 'loss_scaler': {'scale': 2.0}}
