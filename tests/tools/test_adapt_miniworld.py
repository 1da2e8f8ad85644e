"""The tool that adapts miniworld's CLIP: what it does again, and what it leaves out."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

TOOL = Path(__file__).parents[2] / 'tools' / 'adapt_miniworld.py'


@pytest.fixture
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location('adapt_miniworld', TOOL)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_training_is_left_out_only_if_it_was_as_long(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[int] = []

    def train(config, options) -> None:
        trained.append(options.overrides['train_cfg.max_iters'])
        Path(options.work_dir).mkdir(parents=True, exist_ok=True)
        (Path(options.work_dir) / f'iter_{trained[-1]}.pth').write_text(str(trained[-1]))

    def export(model, state, folder, half) -> None:
        folder.mkdir(exist_ok=True)
        (folder / 'open_clip_model.safetensors').write_text(state)

    monkeypatch.setattr(tool, 'train', train)
    monkeypatch.setattr(tool, 'read_training_file', lambda path: {'state_dict': Path(path).read_text()})
    monkeypatch.setattr(tool, 'export_pretrained', export)
    monkeypatch.setattr(tool, 'load_config', lambda config, changes: SimpleNamespace(model={}))
    for iters in (5, 5, 7, 5):
        args = tool.parse_args(['--out', str(tmp_path), '--iters', str(iters)])
        folder = tool.adapt(args, tmp_path / 'data', 'ft', 'some/clip')
        assert (folder / 'open_clip_model.safetensors').read_text() == str(iters)
    assert trained == [5, 7, 5]
    (folder / 'open_clip_model.safetensors').unlink()  # killed between training and export
    tool.adapt(args, tmp_path / 'data', 'ft', 'some/clip')
    assert trained == [5, 7, 5, 5]
