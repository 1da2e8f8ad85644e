"""A model and pictures that the tests share."""

import pytest

from denseclip.apis.stress import load_subject
from denseclip.datasets.miniworld import write_miniworld

CONFIG = 'configs/miniworld/maskclip_vit-xs8_zs_miniworld-128x128.py'


@pytest.fixture(scope='package')
def root(tmp_path_factory):
    """Eight drawn pictures of 64 x 64."""
    folder = tmp_path_factory.mktemp('data') / 'drawn'
    write_miniworld('ade20k', folder, count=1, val_count=8, size=(64, 64))
    return folder


@pytest.fixture(scope='package')
def subject(root):
    """The bundled CLIP on six of them."""
    return load_subject(CONFIG, limit=6, overrides={'test_dataloader.dataset.data_root': str(root)}, device='cpu')
