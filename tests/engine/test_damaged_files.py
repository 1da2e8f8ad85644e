"""A training goes on past damaged files if that is wished: it says which, how often, and resumes exactly."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import DATASETS, HOOKS
from mmengine.runner import Runner

from denseclip.engine.config import OptionError, use_on_damaged
from denseclip.engine.data import SeededDataset, SeededIndex
from denseclip.engine.data.samples import DamagedSampleError
from denseclip.engine.hooks import DamagedFilesHook

BAD = (3, 8)
SKIP = {'train_dataloader.dataset': {'type': 'SpoiltPictures'}, 'train_cfg.on_damaged': 'skip'}


@HOOKS.register_module()
class WhatIsTrainedHook(Hook):
    """Remembers the pictures of every iteration."""

    def __init__(self) -> None:
        self.seen: list[list[str]] = []

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        self.seen.append([sample.img_path for sample in data_batch['data_samples']])


@pytest.fixture(autouse=True, scope='module')
def spoilt_pictures() -> None:
    """The toy data set, two of whose files are damaged."""
    toy = DATASETS.get('ToyPictures')

    @DATASETS.register_module(force=True)
    class SpoiltPictures(toy):
        def __getitem__(self, index: int) -> Any:
            if index in BAD:
                raise DamagedSampleError(f"label map 'picture_{index}.png' is empty")
            return super().__getitem__(index)


def log_of(runner: Runner) -> str:
    return Path(runner.log_dir, f'{runner.timestamp}.log').read_text()


def hook_of(runner: Runner, kind: type) -> Any:
    return next(hook for hook in runner.hooks if isinstance(hook, kind))


def test_the_usual_training_stops_and_names_the_file(train_toy, tmp_path: Path) -> None:
    with pytest.raises(DamagedSampleError, match='picture_'):
        train_toy(tmp_path, **{'train_dataloader.dataset': {'type': 'SpoiltPictures'}})


def test_skipped_files_are_named_counted_and_resumed_exactly(train_toy, tmp_path: Path) -> None:
    options = {**SKIP, 'custom_hooks': [dict(type='WhatIsTrainedHook')]}
    whole = train_toy(tmp_path / 'whole', **options, **{'train_dataloader.num_workers': 2})
    cut = train_toy(tmp_path / 'cut', **options, **{'train_cfg.max_iters': 5})
    resumed = train_toy(tmp_path / 'cut', resume='auto', **options)
    seen = [hook_of(runner, WhatIsTrainedHook).seen for runner in (whole, cut, resumed)]
    assert seen[0] == seen[1] + seen[2] and not {f'picture_{n}.png' for n in BAD} & set(sum(seen[0], []))
    weights = [torch.load(tmp_path / f'{run}/iter_10.pth', weights_only=True) for run in ('whole', 'cut')]
    assert all(torch.equal(weights[0]['state_dict'][k], weights[1]['state_dict'][k]) for k in weights[0]['state_dict'])
    counts = hook_of(whole, DamagedFilesHook).counts
    assert set(counts) == {f"label map 'picture_{n}.png' is empty" for n in BAD}
    assert weights[0]['damaged_files'] == weights[1]['damaged_files'] == dict(counts)
    log = log_of(resumed)
    assert f'2 damaged samples were skipped, {sum(counts.values())} times in all' in log
    assert log_of(whole).count('skipped at iteration') == 2


def test_whoever_loads_a_place_takes_the_same_stand_in() -> None:
    """Places are those of the whole run, whatever the number of processes."""
    dataset = DATASETS.build({'type': 'SpoiltPictures'})
    first, second = (SeededDataset(dataset, 7, 'skip')[SeededIndex(3, (0, 11))] for _ in range(2))
    assert first['data_samples'].img_path == second['data_samples'].img_path
    assert torch.equal(first['inputs'], second['inputs'])
    others = {SeededDataset(dataset, 7, 'skip')[SeededIndex(3, (0, n))]['data_samples'].img_path for n in range(20)}
    assert len(others) > 5


def test_numbers_of_all_processes_are_added(monkeypatch: pytest.MonkeyPatch) -> None:
    hook, other = DamagedFilesHook(), Counter({'a': 2, 'b': 1})
    hook.counts.update({'a': 1})
    monkeypatch.setattr(
        'denseclip.engine.hooks.damaged_files.all_gather_object', lambda counts: [Counter(counts), other]
    )
    said: list[str] = []
    runner: Any = SimpleNamespace(logger=SimpleNamespace(warning=said.append), rank=0, iter=7)
    hook.before_checkpoint(runner, 'iter')
    checkpoint: dict[str, Any] = {}
    hook.before_save_checkpoint(runner, checkpoint)
    assert checkpoint == {'damaged_files': {'a': 3, 'b': 1}}
    assert said == ['skipped by another process up to iteration 7: b']  # the log of this one has named a
    hook.before_checkpoint(runner, 'iter')
    other['c'] = 1
    hook.after_train(runner)
    assert said[1:] == [
        'skipped by another process up to iteration 7: c',
        '3 damaged samples were skipped, 5 times in all: 3 x a; 1 x b; 1 x c',
    ]
    hooks = [DamagedFilesHook(), DamagedFilesHook()]
    for rank, resumed in enumerate(hooks):
        resumed.after_load_checkpoint(SimpleNamespace(rank=rank), checkpoint)
    assert sum((resumed.counts for resumed in hooks), Counter()) == {'a': 3, 'b': 1}


def test_other_loops_do_not_take_the_option() -> None:
    from mmengine.config import Config

    config = Config(dict(train_cfg=dict(type='mmengine.IterBasedTrainLoop')))
    use_on_damaged(config, None)
    with pytest.raises(OptionError, match='--on-damaged'):
        use_on_damaged(config, 'skip')
