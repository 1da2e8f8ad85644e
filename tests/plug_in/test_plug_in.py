"""A user's own MMSegmentation config, outside the repository, needs nothing of ours but ``custom_imports``."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFIG = """
custom_imports = dict(imports=['denseclip'])
default_scope = 'mmseg'
norm_cfg = dict(type='BN')
model = dict(
    type='DenseCLIP',
    data_preprocessor=dict(
        type='SegDataPreProcessor', size=(64, 64), bgr_to_rgb=True, pad_val=0, seg_pad_val=255,
        mean=[122.7709, 116.7460, 104.0937], std=[68.5005, 66.6322, 70.3232]),
    backbone=dict(type='CLIPResNet', layers=(1, 1, 1, 1), width=8, embed_dim=32, input_resolution=64),
    text_encoder=dict(
        type='CLIPTextContextEncoder', embed_dim=32, transformer_width=16, transformer_heads=2, transformer_layers=1),
    vocabulary='sky; building; pole; road; pavement; tree; sign; fence; car=automobile; person; bicycle; unlabelled',
    num_contexts=4,
    prompting='none',
    score_fusion='expectation',
    text_head=True,
    neck=dict(type='FPN', in_channels=[32, 64, 128, 256 + 32], out_channels=8, num_outs=4),
    decode_head=dict(
        type='PixelTextFPNHead', embed_dim=32, in_channels=[8] * 4, in_index=[0, 1, 2, 3], channels=8,
        feature_strides=[4, 8, 16, 32], norm_cfg=norm_cfg,
        loss_decode=dict(type='CrossEntropyLoss', loss_weight=1.0)),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    sampler=dict(type='InfiniteSampler'),
    dataset=dict(
        type='BaseSegDataset',
        metainfo=dict(classes=[str(i) for i in range(12)], palette=[[i, i, i] for i in range(12)]),
        data_root='data',
        data_prefix=dict(img_path='train', seg_map_path='trainannot'),
        img_suffix='.png',
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations'),
            dict(type='RandomCrop', crop_size=(64, 64)),
            dict(type='PackSegInputs'),
        ]))
train_cfg = dict(type='IterBasedTrainLoop', max_iters=2)
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.01))
"""

PROGRAM = """
from mmengine.config import Config
from mmengine.runner import Runner
config = Config.fromfile('my_config.py')
config.work_dir = 'out'
runner = Runner.from_cfg(config)
runner.train()
print('trained', runner.iter, 'iterations')
"""


@pytest.mark.slow
def test_a_users_own_config_trains_with_custom_imports_alone(tmp_path):
    from generated import write_dataset

    write_dataset('camvid', tmp_path / 'data', num_train=4, num_val=2, size=(64, 80), seed=0)
    (tmp_path / 'my_config.py').write_text(CONFIG)
    repository = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, 'PYTHONPATH': repository, 'OMP_NUM_THREADS': '1'}
    result = subprocess.run(
        [sys.executable, '-c', PROGRAM], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert 'trained 2 iterations' in result.stdout
