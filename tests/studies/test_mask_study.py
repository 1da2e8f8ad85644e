"""The comparison of mask models on seen and unseen classes."""

from __future__ import annotations

import csv
import json
import statistics
from pathlib import Path

import pytest
from mmengine.config import Config
from tiny_config import CONFIGS, TINY_CLIP

from denseclip.clip.things import thing_flags
from denseclip.clip.vocabulary import Vocabulary
from denseclip.datasets.miniworld import CLASSES, UNSEEN
from denseclip.datasets.panoptic import MiniworldPanopticSegments
from denseclip.engine.config import OptionError
from denseclip.engine.launch import TrainOptions
from studies.mask_study import VARIANTS, StudyOptions, chosen, run_study, runs, write_table
from studies.mask_study.table import COLUMNS, markdown, mean_and_spread, reference


def test_every_variant_has_a_config_and_options_that_it_knows() -> None:
    for variant in VARIANTS.values():
        config = Config.fromfile(CONFIGS.parent / variant.config)
        config.merge_from_dict({f'model.{key}': value for key, value in variant.model.items()})
        assert variant.starts_from is None or variant.starts_from in VARIANTS
        assert variant.starts_from or not variant.only_test
        base = reference(variant.name)
        assert base is None or base in VARIANTS


def test_choosing_brings_what_others_start_from() -> None:
    assert [v.name for v in chosen(['methods'])] == ['fcclip', 'maft-plus', 'pmp-fcclip', 'pmp-maft-plus']
    assert [v.name for v in chosen(['pmp-fcclip/chunks'])] == ['pmp-fcclip', 'pmp-fcclip/chunks']
    assert len(chosen(['all'])) == len(VARIANTS)
    with pytest.raises(OptionError, match='variants: fcclip'):
        chosen(['deeplab'])


def test_the_split_is_that_of_miniworld() -> None:
    config = Config.fromfile(CONFIGS / 'miniworld' / 'fcclip_vit-xs8_miniworld-96x96.py')
    seen = tuple(name for name in CLASSES if name not in UNSEEN)
    assert tuple(config.train_dataloader.dataset.metainfo.classes) == seen
    assert Vocabulary.of(config.model.train_vocabulary).names == seen
    assert Vocabulary.of(config.model.vocabulary).names == CLASSES
    for evaluator in ('semantic', 'panoptic', 'proposals'):
        assert config.task_evaluators[evaluator].sets == dict(seen=list(seen), unseen=list(UNSEEN))


def test_things_are_those_of_the_truth() -> None:
    for name in ('fcclip', 'pmp-maft-plus'):
        model = Config.fromfile(CONFIGS / 'miniworld' / f'{name}_vit-xs8_miniworld-96x96.py').model
        flags = thing_flags(Vocabulary.of(model.vocabulary), model.things)
        wanted = MiniworldPanopticSegments.METAINFO['thing_classes']
        assert tuple(name for name, thing in zip(CLASSES, flags, strict=True) if thing) == wanted


def test_a_training_goes_on_from_checkpoints_of_its_own_settings_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[bool] = []

    def train(config: Path, options: TrainOptions) -> None:
        folder = Path(options.work_dir)
        found.append((folder / 'last_checkpoint').is_file())
        folder.mkdir(parents=True, exist_ok=True)
        (folder / 'last_checkpoint').write_text(str(folder / 'iter.pth'))
        if len(found) in (1, 4):
            raise KeyboardInterrupt

    monkeypatch.setattr(runs, 'train', train)
    monkeypatch.setattr(runs, 'test', lambda *_: dict.fromkeys(COLUMNS, 1.0))
    monkeypatch.setattr(runs, 'write_miniworld', lambda *_, **__: None)

    def study(iterations: int) -> None:
        run_study(chosen(['fcclip']), StudyOptions(tmp_path, tmp_path / 'data', [0], iterations))

    with pytest.raises(KeyboardInterrupt):
        study(5)
    study(5)  # goes on
    study(3)  # has a result of five iterations, which is no start for three
    with pytest.raises(KeyboardInterrupt):
        study(4)
    study(4)
    assert found == [False, True, False, False, True]
    study(4)  # has its result
    assert len(found) == 5


def result(variant: str, seed: int, value: float) -> dict:
    return {'variant': variant, 'seed': seed, 'scores': dict.fromkeys(COLUMNS, value)}


def test_table_has_means_spreads_and_paired_differences(tmp_path: Path) -> None:
    results = [result('fcclip', s, v) for s, v in ((0, 10.0), (1, 20.0))]
    results += [result('pmp-fcclip', s, v) for s, v in ((0, 13.0), (1, 22.0), (2, 90.0))]
    write_table(results, tmp_path)
    rows = list(csv.DictReader((tmp_path / 'results.csv').open(encoding='utf-8')))
    assert len(rows) == 5 and float(rows[4]['PQ-unseen']) == 90
    lines = (tmp_path / 'table.md').read_text(encoding='utf-8').splitlines()
    assert lines[2].startswith(f'| fcclip | frozen CLIP | 15.0 ± {statistics.stdev([10, 20]):.1f} |')
    assert lines[3].endswith('| +2.5 (fcclip) | 3 |')  # of the seeds that both have
    assert mean_and_spread([3.14]) == '3.1'
    assert '| – |' in markdown([result('pmp-fcclip', 0, 1.0)])


@pytest.mark.slow
def test_trains_tests_and_goes_on(tmp_path: Path) -> None:
    quiet = {f'{split}_dataloader.{k}': v for split in ('train', 'val', 'test') for k, v in _WORKERS.items()}
    clip = {'model.clip.model': 'ViT-B-16', 'model.clip.arch': TINY_CLIP, 'model.head.num_layers': 1}
    overrides = {**quiet, **clip, 'train_dataloader.batch_size': 2}
    options = StudyOptions(tmp_path / 'out', tmp_path / 'data', [3], 1, 4, 2, overrides)
    lines: list[str] = []
    first = run_study(chosen(['pmp-fcclip/chunks']), options, lines.append)
    assert [r['variant'] for r in first] == ['pmp-fcclip', 'pmp-fcclip/chunks'] and len(lines) == 2
    assert all(0 <= r['scores'][c] <= 100 for r in first for c in COLUMNS if r['scores'][c] == r['scores'][c])
    files = sorted((tmp_path / 'out').rglob('result.json'))
    before = {file: file.stat().st_mtime_ns for file in files}
    again = run_study(chosen(['pmp-fcclip/chunks']), options)
    assert json.dumps(again) == json.dumps(first)
    assert {file: file.stat().st_mtime_ns for file in files} == before  # nothing was run twice


_WORKERS = {'num_workers': 0, 'persistent_workers': False}
