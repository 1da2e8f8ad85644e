"""Fixtures: a tiny open-vocabulary DenseCLIP with random weights, as files on disk and loaded; a picture."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_models import denseclip_config, tiny_denseclip

from denseclip.apis.inferencer import Inferencer
from denseclip.weights import write_safetensors

PREPROCESSOR = dict(
    type='SegDataPreProcessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True,
    pad_val=0,
    seg_pad_val=255,
    test_cfg=dict(size_divisor=32),
)
PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(128, 64), keep_ratio=True),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]


@pytest.fixture
def preprocessor():
    """Config of the model's data preprocessor."""
    return PREPROCESSOR


@pytest.fixture
def pipeline():
    """Test pipeline of the model, as evaluation has it."""
    return PIPELINE


@pytest.fixture(scope='session')
def model_files(tmp_path_factory):
    """Config and weights of the model."""
    folder = tmp_path_factory.mktemp('model')
    torch.manual_seed(0)
    model = tiny_denseclip('any', open_vocabulary=True, data_preprocessor=PREPROCESSOR)
    config = dict(
        model=denseclip_config('any', open_vocabulary=True, data_preprocessor=PREPROCESSOR),
        test_pipeline=PIPELINE,
    )
    (folder / 'config.json').write_text(json.dumps(config))
    return folder / 'config.json', write_safetensors(model.state_dict(), folder / 'weights.safetensors')


@pytest.fixture(scope='session')
def loaded(model_files):
    """The model, loaded once for all tests."""
    return Inferencer(*model_files, device='cpu')


@pytest.fixture
def inferencer(loaded):
    """The model with its own vocabulary."""
    loaded.set_vocabulary(loaded.own_vocabulary)
    return loaded


@pytest.fixture
def photo(tmp_path):
    """A colourful picture file."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 6, 3), dtype=np.uint8))
    path = tmp_path / 'photo.png'
    coarse.resize((90, 60), Image.Resampling.BICUBIC).save(path)
    return path
