"""``tools/benchmark_open_vocab.py`` as users call it."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch
from generated import write_dataset
from safetensors.torch import save_file

from denseclip.models.open_clip_parts import OpenCLIPParts

ROOT = Path(__file__).parents[2]
TOOL = ROOT / 'tools/benchmark_open_vocab.py'
ARCH = dict(embed_dim=16, vision_cfg=dict(image_size=64, layers=1, width=16, head_width=16))
ARCH['text_cfg'] = dict(width=16, heads=2, layers=1)


@pytest.fixture(scope='module')
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location('tool_benchmark_open_vocab', TOOL)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_list_shows_what_can_be_asked_for(tool: ModuleType, capsys: pytest.CaptureFixture) -> None:
    assert tool.main(['--list']) == 0
    text = capsys.readouterr().out
    assert all(word in text for word in ('maskclip', 'naclip', 'coco_object', 'cityscapes', 'dinoiser', 'clearclip'))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ([], 'name at least one'),
        (['--presets', 'sclp'], "did you mean 'sclip'"),
        (['--presets', 'sclip', '--datasets', 'voc22'], 'no evaluation set is called'),
        (['--presets', 'sclip', '--data-root', 'voc20'], '--data-root takes NAME=VALUE'),
        (['--presets', 'mine', '--config', 'mine=nowhere.py'], "config file 'nowhere.py' does not exist"),
    ],
)
def test_wrong_arguments_are_named(tool: ModuleType, arguments: list[str], message: str) -> None:
    with pytest.raises(SystemExit, match=message):
        tool.main(arguments)


def test_several_checkpoints_of_a_name_are_several_runs(tool: ModuleType) -> None:
    assert tool.checkpoints(None) == [{}]
    found = tool.checkpoints(['a=1.pt', 'b=x=y.pt', 'a=2.pt'])
    assert found == [{'a': '1.pt', 'b': 'x=y.pt'}, {'a': '2.pt', 'b': 'x=y.pt'}]


@pytest.mark.slow
def test_command_writes_the_table(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """With a process for the cell, as users run it."""
    torch.manual_seed(0)
    state = OpenCLIPParts('ViT-B-16', arch=ARCH).clip.model.state_dict()
    save_file({name: value.contiguous() for name, value in state.items()}, tmp_path / 'tiny.safetensors')
    root = write_dataset('voc2012', tmp_path / 'voc', num_train=1, num_val=2, size=(40, 56))
    settings = [
        f'model.clip.arch.{part}.{key}={value}'
        for part in ('vision_cfg', 'text_cfg')
        for key, value in ARCH[part].items()
    ]
    command = ['--presets', 'naclip', '--datasets', 'voc20']
    command += ['--pretrained', str(tmp_path / 'tiny.safetensors'), '--data-root', f'voc20={root}', '--limit', '1']
    command += ['--out', str(tmp_path / 'out'), '--num-workers', '0', '--threads', '1']
    command += ['--cfg-options', 'model.clip.arch.embed_dim=16', 'model.templates=plain', *settings]
    monkeypatch.setenv('PYTHONPATH', str(ROOT))
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')
    assert tool.main(command) == 0
    said = capsys.readouterr().out
    assert len(said.splitlines()) == 3, said
    with (tmp_path / 'out/table.csv').open(encoding='utf-8') as file:
        (row,) = csv.DictReader(file)
    assert (row['preset'], row['protocol'], row['pictures'], row['status']) == ('naclip', 'naclip', '1 of 1449', 'done')
    assert float(row['peak MiB']) > 100 and float(row['seconds']) > 0
