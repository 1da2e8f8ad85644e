"""The complete configs in the documentation do what the page says."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from generated import write_dataset
from mmengine.config import Config
from mmengine.registry import MODELS
from mmengine.runner import Runner
from PIL import Image

from denseclip.cli.main import main
from denseclip.engine.launch import TrainOptions, train

ROOT = Path(__file__).parents[2]
SMALL = {
    'train_dataloader.num_workers': 0,
    'train_dataloader.batch_size': 2,
    'default_hooks': dict(checkpoint=dict(type='CheckpointHook', interval=-1)),
}


def documented(page: str, name: str) -> str:
    """The code block of a page that starts with the comment ``# name``."""
    text = (ROOT / page).read_text(encoding='utf-8')
    start = text.index(f'```python\n# {name}\n') + len('```python\n')
    return text[start : text.index('```', start)]


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A folder outside the repository, with tiny data in ``data/mine`` whose ignored pixels are 255."""
    monkeypatch.chdir(tmp_path)
    root = write_dataset('camvid', 'data/mine', num_train=2, num_val=1, size=(96, 128), num_classes=3)
    for path in root.glob('*annot/*.png'):
        labels = np.array(Image.open(path))
        Image.fromarray(np.where(labels == 11, 255, labels).astype(np.uint8)).save(path)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield tmp_path
    torch.set_num_threads(before)


def shrink(config: Config) -> Config:
    config.merge_from_dict({**SMALL, 'work_dir': 'work', 'train_cfg.max_iters': 2})
    config.train_pipeline[3].crop_size = config.model.data_preprocessor.size = (64, 64)
    config.train_dataloader.dataset.pipeline = config.train_pipeline
    return config


@pytest.mark.slow
def test_denseclip_in_a_config_of_ones_own_trains_with_the_plain_runner(workplace):
    path = workplace / 'my_denseclip.py'
    path.write_text(documented('docs/plug_in.md', 'my_denseclip.py'), encoding='utf-8')
    runner = Runner.from_cfg(shrink(Config.fromfile(path)))
    runner.train()
    assert runner.iter == 2
    assert runner.message_hub.get_scalar('train/loss').current() > 0


@pytest.mark.slow
@pytest.mark.parametrize('page', ['README.md', 'docs/plug_in.md'])
def test_clip_backbone_fits_into_mmsegs_own_config(workplace, page):
    path = workplace / 'clip_fpn.py'
    path.write_text(documented(page, 'clip_fpn.py'), encoding='utf-8')
    config = Config.fromfile(path)
    config.model.backbone.merge(dict(layers=(1, 1, 1, 1), pretrained=None))
    with torch.device('meta'):
        model = MODELS.build(config.model)
    assert [tuple(x.shape) for x in model.backbone(torch.zeros(1, 3, 64, 64, device='meta'))][0] == (1, 256, 16, 16)


@pytest.mark.slow
def test_own_data_guide(workplace):
    text = (ROOT / 'docs/own_data.md').read_text(encoding='utf-8')
    command = next(line for line in text.splitlines() if line.startswith('denseclip new-dataset'))
    assert main(shlex.split(command)[1:]) == 0
    path = workplace / 'mine.py'
    quick = {
        **SMALL,
        'train_dataloader.persistent_workers': False,
        'val_dataloader.num_workers': 0,
        'val_dataloader.persistent_workers': False,
        'train_cfg.max_iters': 2,
        'train_cfg.val_interval': 2,
    }
    del quick['default_hooks']
    runner = train(path, TrainOptions(overrides=quick, seed=0))
    assert runner.iter == 2
    assert 'val/mIoU' in runner.message_hub.log_scalars
    assert runner.model.vocabulary.prompts == ('sky', 'building', 'house', 'pole', 'post')
