"""``tools/test.py`` for models that have nothing to train."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from tiny_config import CONFIGS, tiny_config

ROOT = Path(__file__).parents[2]


def tool():
    spec = importlib.util.spec_from_file_location('tool_test_zero_shot', ROOT / 'tools/test.py')
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_config_alone_is_enough(tmp_path: Path) -> None:
    config = tiny_config(Path('maskclip/maskclip_vit-b16_zs_voc20-448x448.py'), tmp_path)
    config.model.templates = 'plain'
    config.dump(tmp_path / 'tiny.py')
    tool().main([str(tmp_path / 'tiny.py'), '--work-dir', str(tmp_path / 'w'), '--out', str(tmp_path / 'maps')])
    assert len(list((tmp_path / 'maps').glob('*.png'))) == 1
    record = json.loads(next((tmp_path / 'w').glob('*/environment.json')).read_text())
    assert record['checkpoint'] is None


def test_trained_models_need_their_checkpoint(tmp_path: Path) -> None:
    config = CONFIGS / 'denseclip/fpn_r18_80k_ade20k-512x512.py'
    with pytest.raises(SystemExit, match='name the checkpoint to test'):
        tool().main([str(config), '--work-dir', str(tmp_path)])
