"""``tools/train.py`` and ``tools/test.py`` as users call them."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from PIL import Image

from denseclip.cli import COMMANDS

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / 'tests/engine/toy_fpn.py'


def load_tool(name: str) -> ModuleType:
    """Import a tool by its file."""
    spec = importlib.util.spec_from_file_location(f'tool_{name}', ROOT / f'tools/{name}.py')
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='module')
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight training and two validation pictures in CamVid's layout."""
    from generated import write_dataset

    return write_dataset('camvid', tmp_path_factory.mktemp('data') / 'CamVid', num_train=8, num_val=2, size=(48, 64))


def options(data_root: Path, *more: str) -> list[str]:
    """``--cfg-options`` for the toy config."""
    roots = [f'{split}_dataloader.dataset.data_root={data_root}' for split in ('train', 'val', 'test')]
    return ['--cfg-options', *roots, *more]


@pytest.fixture(scope='module')
def trained(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Work directory of two iterations."""
    work_dir = tmp_path_factory.mktemp('trained')
    more = ['train_cfg.max_iters=2', 'train_cfg.val_interval=2', 'experiment_name=trained']
    load_tool('train').main([str(CONFIG), '--work-dir', str(work_dir), '--seed', '7', *options(data_root, *more)])
    return work_dir


def launch(tool: str, *arguments: str, processes: int | None = None) -> subprocess.CompletedProcess[str]:
    """Run a tool as a program, under torchrun if ``processes`` is given."""
    program = [sys.executable, '-W', 'ignore']
    if processes is not None:
        program += ['-m', 'torch.distributed.run', '--standalone', f'--nproc_per_node={processes}']
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': ''}
    command = [*program, str(ROOT / f'tools/{tool}.py'), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def weights(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)['state_dict']


@pytest.mark.slow
def test_train_writes_checkpoints_and_its_environment(trained: Path) -> None:
    assert {'iter_2.pth', 'best_mIoU_iter_2.pth', 'last_checkpoint', 'toy_fpn.py'} <= {
        p.name for p in trained.iterdir()
    }
    record = json.loads(next(trained.glob('*/environment.json')).read_text())
    assert {'torch', 'mmengine', 'denseclip'} <= set(record['packages'])
    assert record['config'] == str(CONFIG) and 'machine' in record and 'git' in record
    assert torch.load(trained / 'iter_2.pth', weights_only=True)['meta']['seed'] == 7


@pytest.mark.slow
def test_test_writes_maps_and_pictures_once(trained: Path, data_root: Path, tmp_path: Path) -> None:
    out, show = tmp_path / 'out', tmp_path / 'show'
    call = [str(CONFIG), str(trained / 'iter_2.pth'), '--work-dir', str(tmp_path / 'w'), '--out', str(out)]
    call += ['--show-dir', str(show)]
    tool = load_tool('test')
    tool.main([*call, *options(data_root, 'experiment_name=first')])
    assert len(list(out.glob('*.png'))) == 2
    names = sorted(p.name for p in out.glob('*.png'))
    assert sorted(p.name for p in show.iterdir()) == names  # flat, under the names of the pictures
    width = Image.open(data_root / f'val/{names[0]}').width
    assert all(Image.open(p).width > width for p in show.iterdir())  # the suite's overlay, with its legend
    with pytest.raises(SystemExit, match=r'holds earlier results.*--force'):
        tool.main([*call, *options(data_root)])
    tool.main([*call, '--force', *options(data_root, 'experiment_name=second')])


@pytest.mark.slow
def test_test_writes_maps_of_pictures_without_labels_and_of_one_name(
    trained: Path, data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    pictures, out = tmp_path / 'pictures', tmp_path / 'out'
    for number, folder in enumerate(('left', 'right')):
        (pictures / folder).mkdir(parents=True)
        shutil.copy(data_root / f'val/val_{number:06d}.png', pictures / folder / 'car.png')
    where = [f'test_dataloader.dataset.{key}' for key in ('data_root', 'data_prefix.img_path')]
    call = [str(CONFIG), str(trained / 'iter_2.pth'), '--work-dir', str(tmp_path / 'w'), '--out', str(out)]
    more = [f'{where[0]}={pictures}', f'{where[1]}=', 'test_dataloader.dataset.data_prefix.seg_map_path=labels']
    load_tool('test').main([*call, '--cfg-options', *more, 'experiment_name=unlabelled'])
    assert sorted(p.name for p in out.iterdir()) == ['left_car.png', 'right_car.png']
    assert 'nothing is scored' in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize('option', ['--tta', '--amp'])
def test_test_variants_run(trained: Path, data_root: Path, tmp_path: Path, option: str) -> None:
    arguments = [str(CONFIG), str(trained / 'iter_2.pth'), '--work-dir', str(tmp_path), option]
    load_tool('test').main([*arguments, *options(data_root, f'experiment_name=variant{option.strip("-")}')])


@pytest.mark.slow
def test_amp_training_is_finite(data_root: Path, tmp_path: Path) -> None:
    more = ['train_cfg.max_iters=2', 'train_cfg.val_interval=10', 'experiment_name=amp']
    load_tool('train').main([str(CONFIG), '--work-dir', str(tmp_path), '--amp', *options(data_root, *more)])
    state = weights(tmp_path / 'iter_2.pth')
    assert all(value.isfinite().all() and value.dtype != torch.bfloat16 for value in state.values())
    assert 'CPUAmpOptimWrapper' in (tmp_path / 'toy_fpn.py').read_text() or torch.cuda.is_available()


@pytest.mark.slow
def test_another_models_checkpoint_fails_with_names(trained: Path, data_root: Path, tmp_path: Path) -> None:
    checkpoint = torch.load(trained / 'iter_2.pth', weights_only=True)
    state = checkpoint['state_dict']
    state['decode_head.extra.weight'] = state.pop('decode_head.conv_seg.weight')
    torch.save(checkpoint, tmp_path / 'other.pth')
    with pytest.raises(SystemExit, match=r'decode_head\.conv_seg\.weight.*decode_head\.extra\.weight'):
        load_tool('test').main(
            [str(CONFIG), str(tmp_path / 'other.pth'), '--work-dir', str(tmp_path / 'w'), *options(data_root)]
        )


def test_what_does_not_exist_is_named(tmp_path: Path) -> None:
    train, test = load_tool('train'), load_tool('test')
    with pytest.raises(SystemExit, match=r"config file '.*nothing\.py' does not exist"):
        train.main([str(tmp_path / 'nothing.py')])
    with pytest.raises(SystemExit, match=r"checkpoint '.*nothing\.pth' does not exist"):
        test.main([str(CONFIG), str(tmp_path / 'nothing.pth'), '--work-dir', str(tmp_path)])
    with pytest.raises(SystemExit, match=r"'.*nothing\.pth' to resume from does not exist"):
        train.main([str(CONFIG), '--work-dir', str(tmp_path), '--resume', str(tmp_path / 'nothing.pth')])
    (tmp_path / 'weights.pth').touch()
    with pytest.raises(SystemExit, match=r"vocabulary file '.*words\.txt' does not exist"):
        test.main([str(CONFIG), str(tmp_path / 'weights.pth'), '--vocabulary', str(tmp_path / 'words.txt')])
    with pytest.raises(SystemExit, match=r"'.*head\.safetensors' does not exist; make it with 'denseclip adapt'"):
        test.main([str(CONFIG), str(tmp_path / 'weights.pth'), '--head', str(tmp_path / 'head.safetensors')])


@pytest.mark.parametrize('tool', ['train', 'test'])
def test_options_mmseg_users_know(tool: str) -> None:
    known = {
        'train': ['--work-dir', '--resume', '--amp', '--auto-scale-lr', '--cfg-options', '--launcher', '--local_rank'],
        'test': ['--work-dir', '--out', '--show', '--show-dir', '--wait-time', '--cfg-options', '--launcher', '--tta'],
    }[tool]
    parser = argparse.ArgumentParser()
    COMMANDS[tool].add_options(parser)
    assert set(known) <= set(parser._option_string_actions)


@pytest.mark.slow
def test_two_processes_equal_one_with_the_doubled_batch(data_root: Path, tmp_path: Path) -> None:
    """Gloo training through the tool: the same samples, augmented alike, gradients averaged."""
    more = ['train_cfg.max_iters=4', 'train_cfg.val_interval=4', 'model.decode_head.dropout_ratio=0']
    alone = [*more, 'train_dataloader.batch_size=4', 'experiment_name=alone']
    load_tool('train').main([str(CONFIG), '--work-dir', str(tmp_path / 'one'), *options(data_root, *alone)])
    two = launch(
        'train',
        str(CONFIG),
        '--launcher',
        'pytorch',
        '--work-dir',
        str(tmp_path / 'two'),
        *options(data_root, *more),
        processes=2,
    )
    assert two.returncode == 0, two.stderr[-3000:]
    a, b = weights(tmp_path / 'one/iter_4.pth'), weights(tmp_path / 'two/iter_4.pth')
    assert a.keys() == b.keys()
    assert max(float((a[key] - b[key]).abs().max()) for key in a) < 1e-5
    states = torch.load(tmp_path / 'two/iter_4.pth', weights_only=True)['training_state']['rng']
    assert len(states) == 2


@pytest.mark.slow
def test_spawned_workers_find_the_package(data_root: Path, tmp_path: Path) -> None:
    """Workers that start by ``spawn`` import the tool, and with it the package, before they unpickle the data set."""
    more = ['train_cfg.max_iters=1', 'train_cfg.val_interval=10', 'train_dataloader.num_workers=1']
    more += ['env_cfg.mp_cfg.mp_start_method=spawn']
    done = launch('train', str(CONFIG), '--work-dir', str(tmp_path), *options(data_root, *more))
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / 'iter_1.pth').exists()
