"""Every pretraining config takes steps, writes a checkpoint, and what it wrote is exported."""

from __future__ import annotations

import math
import runpy
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS
from tiny_config import CONFIGS, all_configs

from denseclip.engine.config import use_suite_hooks
from denseclip.engine.runner import SuiteRunner

ALL = all_configs(pretraining=True)


def tiny(path: Path, work_dir: Path) -> Config:
    """Two iterations of four pictures."""
    config = Config.fromfile(CONFIGS / path)
    config.merge_from_dict(
        dict(
            work_dir=str(work_dir),
            launcher='none',
            load_from=None,  # a second training starts from weights that a first one wrote
            train_cfg=dict(max_iters=2),
            train_dataloader=dict(batch_size=4, num_workers=0, persistent_workers=False),
            default_hooks=dict(checkpoint=dict(interval=2), logger=dict(interval=1)),
        )
    )
    use_suite_hooks(config)
    return config


@pytest.mark.slow
@pytest.mark.parametrize('path', ALL, ids=lambda p: p.stem)
def test_trains_saves_and_exports(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    runner = SuiteRunner.from_cfg(tiny(path, tmp_path))
    runner.train()
    assert runner.iter == 2
    assert math.isfinite(runner.message_hub.get_scalar('train/loss').current())
    state = runner.optim_wrapper.optimizer.state
    assert [n for n, p in runner.model.named_parameters() if p.requires_grad and p not in state] == []
    arguments = [str(CONFIGS / path), str(tmp_path / 'iter_2.pth'), str(tmp_path / 'out')]
    monkeypatch.setattr(sys, 'argv', ['export_pretrained.py', *arguments])
    with pytest.raises(SystemExit) as done:
        runpy.run_path(str(CONFIGS.parent / 'tools' / 'export_pretrained.py'), run_name='__main__')
    assert done.value.code == 0
    assert ' MB' in capsys.readouterr().out
    weights = next((tmp_path / 'out').glob('*.safetensors'))
    assert weights.stat().st_size < 6_000_000  # both bundled files together stay under 12 MB


@pytest.mark.parametrize('path', ALL, ids=lambda p: p.stem)
def test_schedules_end_together_and_pictures_have_the_size_of_the_name(path: Path) -> None:
    config = Config.fromfile(CONFIGS / path)
    assert max(s['end'] for s in config.param_scheduler) == config.train_cfg.max_iters
    assert config.model.get('max_iters', config.train_cfg.max_iters) == config.train_cfg.max_iters
    sides = [config.model.get('large'), config.model.get('architecture', {}).get('vision_cfg', {}).get('image_size')]
    side = next((s for s in sides if s), None) or config.train_dataloader.dataset.size[0]  # or of a CLIP in a folder
    assert path.stem.endswith(f'-{side}x{side}')
    sample = DATASETS.build(config.train_dataloader.dataset)[0]
    assert min(sample['inputs'].shape[1:]) >= side and sample['inputs'].dtype == torch.uint8
