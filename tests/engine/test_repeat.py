"""Several seeds of one config: done once each, resumed, summed up rightly."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from generated import write_dataset

from denseclip.engine import launch
from denseclip.engine.repeat import RepeatError, Spread, render, repeat, spreads

CONFIG = Path(__file__).with_name('toy_fpn.py')


class Tools:
    """Stand-ins for the two tools: they leave what the real ones leave."""

    def __init__(self, fail: str | None = None, checkpoint: bool = True) -> None:
        self.calls: list[tuple[str, list[str]]] = []
        self.fail, self.checkpoint = fail, checkpoint

    def __call__(self, tool: str, arguments: Sequence[str]) -> None:
        self.calls.append((tool, list(arguments)))
        if tool == self.fail:
            raise RepeatError(f'{tool} failed')
        folder = Path(arguments[arguments.index('--work-dir') + 1])
        if tool == 'train' and self.checkpoint:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / 'iter_1.pth').touch()
            (folder / 'last_checkpoint').write_text(str(folder / 'iter_1.pth'))
        elif tool == 'test':
            seed = int(folder.parent.name.removeprefix('seed_'))
            for stamp, offset in (('20260101_000000', 50), ('20260102_000000', 0)):
                (folder / stamp).mkdir(parents=True)
                metrics = {'mIoU': seed + offset, 'time': 0.1, 'name': 'x'}
                (folder / stamp / f'{stamp}.json').write_text(json.dumps(metrics))


def test_mean_and_sample_deviation() -> None:
    spread = Spread((1.0, 2.0, 4.5))
    assert spread.mean == 2.5 and spread.deviation == pytest.approx(3.25**0.5)
    assert str(spread) == '2.50 ± 1.80' and str(Spread((3.0,))) == '3.00'
    assert str(Spread((0.5, 0.502))) == '0.501 ± 0.001'


def test_each_seed_is_run_once_and_the_newest_metrics_count(tmp_path: Path) -> None:
    tools = Tools()
    found = repeat('c.py', [3, 5], tmp_path, tools, train_args=['--amp'], test_args=['--tta'])
    assert found == {3: {'mIoU': 3.0}, 5: {'mIoU': 5.0}}
    first = tools.calls[0][1]
    assert [tool for tool, _ in tools.calls] == ['train', 'test'] * 2
    assert first == ['c.py', '--work-dir', str(tmp_path / 'seed_3'), '--seed', '3', '--resume', '--amp']
    assert tools.calls[1][1][1] == str(tmp_path / 'seed_3/iter_1.pth') and tools.calls[1][1][-1] == '--tta'
    again = Tools()
    more = repeat('c.py', [3, 5, 7], tmp_path, again, train_args=['--amp'], test_args=['--tta'])
    assert {call[1][2] for call in again.calls if call[0] == 'train'} == {str(tmp_path / 'seed_7')}
    table = render(more)
    assert '| mIoU | 5.00 ± 2.00 | 3.00 | 5.00 | 7.00 |' in table.splitlines()


def test_a_failed_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    with pytest.raises(RepeatError, match='test failed'):
        repeat('c.py', [0, 1], tmp_path, Tools(fail='test'))
    assert not (tmp_path / 'seed_0/metrics.json').exists()
    assert repeat('c.py', [0, 1], tmp_path, Tools()) == {0: {'mIoU': 0.0}, 1: {'mIoU': 1.0}}


def test_other_arguments_need_another_folder(tmp_path: Path) -> None:
    repeat('c.py', [0], tmp_path, Tools())
    with pytest.raises(RepeatError, match='choose another --work-dir'):
        repeat('c.py', [0], tmp_path, Tools(), train_args=['--amp'])


@pytest.mark.parametrize('option', ['--seed', '--seed=7', '--work-dir', '--resume'])
def test_options_of_its_own_are_not_passed_on(tmp_path: Path, option: str) -> None:
    """Otherwise all runs would have one seed, or one folder."""
    tools = Tools()
    with pytest.raises(RepeatError, match='leave it out'):
        repeat('c.py', [0, 1], tmp_path / 'runs', tools, train_args=['--amp', option, '7'])
    assert not tools.calls and not (tmp_path / 'runs').exists()


def test_no_seeds(tmp_path: Path) -> None:
    with pytest.raises(RepeatError, match='no seeds'):
        repeat('c.py', [], tmp_path / 'runs', Tools())


def test_training_without_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(RepeatError, match='without a checkpoint'):
        repeat('c.py', [0], tmp_path, Tools(checkpoint=False))


def test_only_metrics_of_all_seeds_are_summed_up() -> None:
    found = spreads({0: {'a': 1.0, 'b': 2.0}, 1: {'a': 3.0}})
    assert list(found) == ['a'] and found['a'].values == (1.0, 3.0)
    assert spreads({}) == {}


@pytest.mark.slow
def test_a_real_training(tmp_path: Path) -> None:
    root = write_dataset('camvid', tmp_path / 'CamVid', num_train=4, num_val=1, size=(48, 64))
    overrides = {f'{split}_dataloader.dataset.data_root': str(root) for split in ('train', 'val', 'test')}
    overrides |= {'train_cfg.max_iters': 2, 'train_cfg.val_interval': 2}

    def run(tool: str, arguments: Sequence[str]) -> None:
        folder = arguments[arguments.index('--work-dir') + 1]
        if tool == 'train':
            seed = int(arguments[arguments.index('--seed') + 1])
            launch.train(
                arguments[0], launch.TrainOptions(work_dir=folder, seed=seed, resume='auto', overrides=overrides)
            )
        else:
            launch.test(arguments[0], arguments[1], launch.TestOptions(work_dir=folder, overrides=overrides))

    found = repeat(CONFIG, [4], tmp_path / 'runs', run)
    assert set(found) == {4} and 0 <= found[4]['mIoU'] <= 100 and not set(found[4]) & {'time', 'data_time'}
