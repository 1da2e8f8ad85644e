"""Grids of open-vocabulary evaluations: right configs, mmseg's numbers, and nothing lost when killed."""

from __future__ import annotations

import csv
import fcntl
import json
import multiprocessing
import os
import signal
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from generated import write_dataset
from mmengine.config import Config
from mmengine.registry import MODELS
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from safetensors.torch import save_file

from denseclip.clip.presets import PRESETS
from denseclip.datasets.miniworld import write_miniworld
from denseclip.datasets.open_vocab import PROTOCOLS, SETS, default_protocol, evaluation_set
from denseclip.engine.config import OptionError
from denseclip.engine.runner import SuiteRunner
from denseclip.models.open_clip_parts import OpenCLIPParts
from denseclip.models.pretraining.export import export_clip
from studies.open_vocab_grid import (
    Cell,
    CellOptions,
    GridBusyError,
    Progress,
    cell_config,
    evaluate_cell,
    make_cells,
    run_grid,
    towers_of,
    write_tables,
)
from studies.open_vocab_grid.evaluate import _areas
from studies.open_vocab_grid.grid import GridOptions, _beginning

ROOT = Path(__file__).parents[2]
ARCH = dict(
    embed_dim=16,
    vision_cfg=dict(image_size=64, layers=2, width=32, head_width=16),
    text_cfg=dict(width=16, heads=2, layers=1),
)
SMALL = {
    'model.clip.arch': ARCH,
    'model.test_cfg.crop_size': (32, 32),
    'model.test_cfg.stride': (16, 16),
    'model.templates': 'plain',
}
HERE = GridOptions(num_workers=0, save_every=0.0, isolate=False)


@pytest.fixture(scope='module')
def options(tmp_path_factory: pytest.TempPathFactory) -> CellOptions:
    """Tiny weights in a file and tiny data sets."""
    folder = tmp_path_factory.mktemp('grid')
    torch.manual_seed(0)
    model = OpenCLIPParts('ViT-B-16', arch=ARCH).clip.model
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, folder / 'tiny.safetensors')
    write_dataset('voc2012', folder / 'voc', num_train=1, num_val=3, size=(40, 56))
    roots = {'voc20': str(folder / 'voc'), 'voc21': str(folder / 'voc'), 'cityscapes': str(folder / 'missing')}
    smaller = {'test_dataloader.dataset.pipeline.1.scale': (128, 40)}
    return CellOptions(pretrained=str(folder / 'tiny.safetensors'), data_roots=roots, overrides={**SMALL, **smaller})


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def cell(options: CellOptions) -> Cell:
    cells, notes = make_cells(['maskclip'], ['voc20'], ['own'], options)
    assert notes == []
    return cells[0]


@pytest.mark.parametrize('oracle', ['classes', 'masks'])
def test_true_classes_and_masks_help_and_are_no_published_number(oracle, options, cell, tmp_path) -> None:
    given = make_cells(['maskclip'], ['voc20'], ['own'], replace(options, oracle=oracle))[0][0]
    assert given.protocol == f'dinoiser, true {oracle}' and given.file_name != cell.file_name
    plain, helped = (evaluate_cell(each, tmp_path / each.file_name) for each in (cell, given))
    assert helped.areas['label'] == plain.areas['label'] and helped.areas['prediction'] != plain.areas['prediction']
    if oracle == 'classes':  # a class that no label has is never answered
        pairs = zip(helped.areas['prediction'], helped.areas['label'], strict=True)
        assert all(label > 0 or not found for found, label in pairs)
        assert helped.scores['aAcc'] >= plain.scores['aAcc']


def test_true_masks_are_given_the_class_that_most_of_their_pixels_have() -> None:
    label = torch.tensor([[0, 0, 0, 1, 1, 255]])
    sample = SegDataSample(gt_sem_seg=PixelData(data=label))
    sample.set_data(dict(pred_sem_seg=PixelData(data=torch.tensor([[0, 0, 2, 2, 2, 1]]))))
    model = SimpleNamespace(test_step=lambda _: [sample])
    found, maps, _ = _areas(model, {'data_samples': [sample]}, 3, 'masks')
    assert found.tolist() == [[3, 0, 0], [3, 2, 2], [3, 0, 2], [3, 2, 0]]  # intersection, union, prediction, label
    assert maps[0].shape == maps[1].shape == (1, 6)


# --- what a cell means ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('name', PROTOCOLS)
@pytest.mark.parametrize('set_name', SETS)
def test_config_says_what_the_protocol_says(name: str, set_name: str) -> None:
    rules = PROTOCOLS[name]
    if set_name not in rules.settings:
        _, notes = make_cells(['maskclip'], [set_name], [name], CellOptions())
        assert len(notes) == 1 and set_name in notes[0]
        return
    setting, config = rules.settings[set_name], cell_config('sclip', set_name, name, CellOptions())
    model = config.model
    tag = {} if rules.weights[1] is None else dict(pretrained=rules.weights[1])  # a folder brings its own
    assert model.clip == dict(preset='sclip', model=rules.weights[0], **tag, **rules.clip)
    assert model.get('templates', 'openai_imagenet') == rules.templates
    assert ('data_preprocessor' in model) == (rules.normalisation is not None)
    assert model.vocabulary == setting.vocabulary
    assert model.get('scale') == setting.logit_scale
    assert model.test_cfg.mode == ('whole' if setting.crop is None else 'slide')
    assert model.test_cfg.get('crop_size') == setting.crop and model.test_cfg.get('stride') == setting.stride
    post = model.get('post', {})
    assert post.get('prob_threshold') == setting.prob_threshold
    assert post.get('area_threshold') == setting.area_threshold
    assert post.get('background') == (0 if setting.background == 'threshold' else None)
    assert (post.get('pamr') is not None) == (rules.pamr is not None)
    steps = {step.type: step for step in config.test_dataloader.dataset.pipeline}
    assert steps['Resize'].scale == setting.scale and steps['Resize'].keep_ratio
    assert steps['CheckLabelRange'].num_classes == SETS[set_name].num_classes


def test_a_protocol_changes_parts_of_a_read_out_and_leaves_the_others(tmp_path: Path) -> None:
    path = tmp_path / 'mine.py'
    read_out = dict(gaussian=5.0, residual=True)
    path.write_text(f"model = dict(type='X', clip=dict(preset='talk2dino', read_out={read_out!r}))\n")
    options = CellOptions(configs={'mine': str(path)})
    of_protocol = dict(PROTOCOLS['spar'].clip['read_out'])
    assert of_protocol == dict(pos_resize='bicubic+0.1', antialias=False)
    found = cell_config('mine', 'voc20', 'spar', options).model.clip
    assert found.read_out == {**read_out, **of_protocol}
    assert cell_config('mine', 'voc20', 'sclip', options).model.clip.read_out == read_out
    tuned = cell_config('pearl', 'ade20k', 'pearl', CellOptions()).model.clip.read_out
    assert tuned == dict(align_kk=0.3) and PROTOCOLS['spar'].clip['read_out'] == of_protocol


@pytest.mark.parametrize('path', sorted((ROOT / 'configs/maskclip').glob('*.py')), ids=lambda p: p.stem)
def test_configs_are_cells_of_the_grid(path: Path) -> None:
    """The config of a preset and a set is what the grid runs for them under the preset's own protocol."""
    preset_name, _, _, rest = path.stem.split('_')
    preset_name, set_name = preset_name.replace('-', '_'), evaluation_set(rest.split('-')[0]).name
    wanted = cell_config(preset_name, set_name, default_protocol(preset_name, set_name).name, CellOptions()).to_dict()
    config = Config.fromfile(path).to_dict()
    dataset = {**config['test_dataloader']['dataset'], 'test_mode': True}
    assert config['model'] == wanted['model'] and dataset == wanted['test_dataloader']['dataset']
    assert config['val_dataloader'] == config['test_dataloader']


def test_learned_background_is_for_models_that_have_one(tmp_path: Path) -> None:
    learned = CellOptions(checkpoints={'dinoiser': 'last.pt'})
    assert cell_config('dinoiser', 'voc21', 'dinoiser', learned).model.background_rule
    path = tmp_path / 'dinoiser.py'
    path.write_text(
        "model = dict(type='CLIPDINOiser', clip=dict(preset='maskclip'), correlation_teacher=dict(type='X'))\n"
    )
    options = CellOptions(configs={'dinoiser': str(path)})
    rules = {name: cell_config('dinoiser', name, 'dinoiser', options).model for name in SETS}
    assert [name for name, model in rules.items() if model.background_rule] == ['voc21', 'coco_object']
    assert all(model.correlation_teacher is None for model in rules.values())
    assert 'background_rule' not in cell_config('maskclip', 'voc21', 'dinoiser', CellOptions()).model


@pytest.mark.parametrize('name', [n for n, p in PRESETS.items() if not p.needs])
def test_every_preset_makes_a_cell(name: str) -> None:
    cells, _ = make_cells([name], ['voc20'], ['own'], CellOptions())
    assert cells[0].config['model']['clip']['preset'] == name
    assert cells[0].weights == ' '.join(filter(None, PROTOCOLS[cells[0].protocol].weights))
    cells, _ = make_cells([name], ['miniworld'], ['own'], CellOptions())
    assert (cells[0].protocol, cells[0].weights) == ('miniworld', 'local-dir:checkpoints/miniworld_clip')
    assert 'pretrained' not in cells[0].config['model']['clip']


def test_what_does_not_exist_is_named(tmp_path: Path) -> None:
    for arguments, message in [
        ((['masklip'], ['voc20'], ['own']), "did you mean 'maskclip'"),
        ((['maskclip'], ['vox20'], ['own']), "did you mean 'voc20'"),
        ((['maskclip'], ['voc20'], ['sklip']), "did you mean 'sclip'"),
        ((['proxyclip'], ['voc20'], ['own']), 'model.affinity'),
    ]:
        with pytest.raises(OptionError, match=message):
            make_cells(*arguments, CellOptions())
    overrides = {'model.affinity.dino.pretrained': 'dino.safetensors'}
    cells, _ = make_cells(['proxyclip'], ['voc20'], ['own'], CellOptions(overrides=overrides))
    assert cells[0].config['model']['affinity'] == {
        **PRESETS['proxyclip'].model['affinity'],
        'dino': dict(pretrained='dino.safetensors'),
    }
    with pytest.raises(OptionError, match=r'model\.affinity\.\.\. and model\.sam\.\.\.'):
        make_cells(['trident'], ['voc20'], ['own'], CellOptions(overrides=overrides))
    with pytest.raises(OptionError, match='--weights dinoiser=FILE'):
        make_cells(['dinoiser'], ['voc21'], ['own'], CellOptions())
    closed = tmp_path / 'closed.py'
    closed.write_text("model = dict(type='EncoderDecoder')\n")
    with pytest.raises(OptionError, match=r'model\.clip is missing'):
        make_cells(['mine'], ['voc20'], ['dinoiser'], CellOptions(configs={'mine': str(closed)}))


def test_a_method_of_a_protocol_keeps_what_was_set_beside_what_is_tuned(tmp_path: Path) -> None:
    given = {'model.affinity.dino.pretrained': 'dino.pth', 'model.sam.source': 'sam', 'model.sam.refine.rough': 0.01}
    sam = cell_config('trident', 'voc20', 'trident', CellOptions(overrides=given)).model.sam
    tuned = PROTOCOLS['trident'].setting('voc20').tuned['sam']
    assert sam == {
        **PRESETS['trident'].model['sam'],
        **tuned,
        'source': 'sam',
        'refine': {**tuned['refine'], 'rough': 0.01},
    }
    own = tmp_path / 'trident.py'
    own.write_text(
        "model = dict(type='OpenVocabularySegmentor', clip=dict(preset='trident'), "
        "sam=dict(source='sam', refine=dict(least_area=1), columns=3))\n"
    )
    options = CellOptions(configs={'trident': str(own)})
    sam = cell_config('trident', 'cityscapes', 'trident', options).model.sam
    tuned = PROTOCOLS['trident'].setting('cityscapes').tuned['sam']
    assert sam == {**tuned, 'source': 'sam', 'columns': 3, 'refine': {**tuned['refine'], 'least_area': 1}}
    plain = tmp_path / 'plain.py'
    plain.write_text(own.read_text().replace('dict(least_area=1)', 'None'))
    options = CellOptions(configs={'trident': str(plain)})
    assert cell_config('trident', 'cityscapes', 'trident', options).model.sam.refine is None


def test_identity_follows_all_that_decides_the_result(options: CellOptions, cell: Cell, tmp_path: Path) -> None:
    def identity(**changes: Any) -> str:
        return make_cells(['maskclip'], ['voc20'], ['own'], replace(options, **changes))[0][0].identity

    weights = tmp_path / 'tiny.safetensors'
    weights.write_bytes(Path(options.pretrained).read_bytes())
    root = write_dataset('voc2012', tmp_path / 'voc', num_train=1, num_val=1, size=(24, 32))
    fewer = identity(data_roots={'voc20': str(root)})
    (root / 'JPEGImages/more.jpg').touch()
    same, copied = identity(), identity(pretrained=str(weights))
    os.utime(weights, ns=(1, 1))
    others = [copied, identity(pretrained=str(weights)), identity(limit=2), identity(window_batch=3)]
    others += [fewer, identity(data_roots={'voc20': str(root)})]
    assert same == cell.identity and len({same, *others}) == 7


# --- numbers ----------------------------------------------------------------------------------------------------------


def test_numbers_are_those_of_the_test_tool(cell: Cell, tmp_path: Path) -> None:
    """The same model and data through the runner and mmseg's own metric."""
    state = evaluate_cell(cell, tmp_path / 'cell.json')
    loader = dict(num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False), **cell.config['test_dataloader'])
    config = Config(
        dict(
            model=cell.config['model'],
            default_scope='mmseg',
            work_dir=str(tmp_path),
            test_dataloader=loader,
            test_evaluator=dict(type='IoUMetric', iou_metrics=['mIoU']),
            test_cfg=dict(),
        )
    )
    wanted = SuiteRunner.from_cfg(config).test()
    assert {key: state.scores[key] for key in ('mIoU', 'aAcc', 'mAcc')} == pytest.approx(wanted, abs=0.011)
    assert state.done == state.total == 3 and state.seconds > 0 and state.peak_bytes > 2**20
    assert len(state.class_iou) == 20 and sum(state.areas['label']) > sum(state.areas['boundary label']) > 0
    assert 0 <= state.scores['mBIoU'] <= 100


class Interrupted(Exception):
    pass


def test_interrupted_evaluation_ends_with_the_same_numbers(cell: Cell, tmp_path: Path) -> None:
    whole = evaluate_cell(cell, tmp_path / 'whole.json')
    path, seen = tmp_path / 'cell.json', []

    def stop(done: int, total: int) -> None:
        seen.append(done)
        if done == 3 and len(seen) == 3:
            raise Interrupted

    with pytest.raises(Interrupted):
        evaluate_cell(cell, path, save_every=0.0, tick=stop)
    saved = Progress.read(path, cell.identity)
    assert (saved.status, saved.done) == ('running', 2)
    resumed = evaluate_cell(cell, path, tick=stop)
    assert seen == [1, 2, 3, 3]
    assert resumed.areas == whole.areas and resumed.scores == whole.scores and resumed.class_iou == whole.class_iou
    assert resumed.seconds > saved.seconds


def _killed(cell: Cell, path: Path, after: int) -> None:
    evaluate_cell(cell, path, save_every=0.0, tick=lambda done, total: done == after and os.kill(os.getpid(), 9))


def test_kill_minus_nine_loses_one_picture(cell: Cell, tmp_path: Path) -> None:
    whole = evaluate_cell(cell, tmp_path / 'whole.json')
    path = tmp_path / 'cell.json'
    process = multiprocessing.get_context('fork').Process(target=_killed, args=(cell, path, 2))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert Progress.read(path, cell.identity).done == 1
    assert evaluate_cell(cell, path).areas == whole.areas


def test_other_settings_start_anew(cell: Cell, tmp_path: Path) -> None:
    path = tmp_path / 'cell.json'
    evaluate_cell(replace(cell, limit=1), path)
    assert Progress.read(path, cell.identity).done == 0
    for damaged in ('{"half": ', '3', '{}'):
        path.write_text(damaged)
        assert Progress.read(path, cell.identity) == Progress(cell.identity)


def test_the_first_line_of_a_cell_says_why_it_starts(cell: Cell, tmp_path: Path) -> None:
    path = tmp_path / 'cell.json'
    assert _beginning(path, cell) == 'starts'
    Progress(cell.identity, status='running', total=3).write(path, cell)
    assert _beginning(path, cell) == 'was stopped before anything was saved, starts anew'
    Progress(cell.identity, status='running', total=3, done=2).write(path, cell)
    assert _beginning(path, cell) == 'goes on after picture 2 of 3'
    assert _beginning(path, replace(cell, limit=1)) == 'settings or weights have changed, starts anew'
    Progress(cell.identity, status='failed', total=3, error='out of memory').write(path, cell)
    assert _beginning(path, cell) == 'starts'


def test_orphan_does_not_write(cell: Cell, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match='is gone'):
        evaluate_cell(cell, tmp_path / 'cell.json', parent=os.getppid() + 1)
    assert not (tmp_path / 'cell.json').exists()


# --- grids ------------------------------------------------------------------------------------------------------------


def rows(out: Path) -> list[dict[str, str]]:
    with (out / 'table.csv').open(encoding='utf-8') as file:
        return list(csv.DictReader(file))


def test_grid_goes_on_where_it_stopped(options: CellOptions, tmp_path: Path) -> None:
    """One set has no files: its cell fails, the other does not run again, and the failed one is tried again."""
    cells, _ = make_cells(['maskclip'], ['voc20', 'cityscapes'], ['own'], options)
    said: list[str] = []
    states = run_grid(cells, tmp_path, HERE, said.append)
    assert [state.status for state in states] == ['done', 'failed']
    assert 'missing' in states[1].error
    assert 'denseclip convert cityscapes' in states[1].error and '--data-root cityscapes=' in states[1].error
    done, failed = rows(tmp_path)
    if done['set'] != 'VOC20':
        done, failed = failed, done
    assert done['pictures'] == '3 of 1449' and float(done['mIoU']) == states[0].scores['mIoU']
    assert failed['mIoU'] == '' and failed['status'].startswith('failed: ')
    assert (
        done['published'] == ''
        and '61.8 (ViT-B-16 laion2b_s34b_b88k, dinoiser)' in done['published under other conditions']
    )
    file = tmp_path / 'cells' / cells[0].file_name
    before = file.read_bytes()
    root = write_dataset('cityscapes', tmp_path / 'city', num_train=1, num_val=1, size=(40, 64))
    found, _ = make_cells(
        ['maskclip'],
        ['voc20', 'cityscapes'],
        ['own'],
        replace(options, data_roots={**options.data_roots, 'cityscapes': str(root)}),
    )
    states = run_grid(found, tmp_path, HERE, said.append)
    assert [state.status for state in states] == ['done', 'done']
    assert file.read_bytes() == before and 'done before' in said[-4]
    assert [row['status'] for row in rows(tmp_path)] == ['done', 'done']
    text = (tmp_path / 'table.md').read_text()
    assert text.count('\n| maskclip ') == 2 and 'must not be compared' in text


def test_restart_forgets(options: CellOptions, cell: Cell, tmp_path: Path) -> None:
    path = tmp_path / 'cells' / cell.file_name
    path.parent.mkdir()
    Progress(cell.identity, status='done', done=3, total=3, scores={'mIoU': 99.0}).write(path, cell)
    assert run_grid([cell], tmp_path, HERE)[0].scores['mIoU'] == 99.0
    assert run_grid([cell], tmp_path, replace(HERE, restart=True))[0].scores['mIoU'] != 99.0


def test_two_grids_do_not_share_a_folder(cell: Cell, tmp_path: Path) -> None:
    with (tmp_path / '.lock').open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(GridBusyError, match='another run is writing'):
            run_grid([cell], tmp_path, HERE)


def test_several_checkpoints_of_a_method_have_their_mean_and_spread(tmp_path: Path) -> None:
    made = []
    for number, (file, miou) in enumerate((('a.pt', 40.0), ('b.pt', 44.0), ('a.pt', 7.0))):
        checkpoints = {} if number == 2 else {'maskclip': file}
        cell = make_cells(['maskclip'], ['voc20'], ['own'], CellOptions(checkpoints=checkpoints))[0][0]
        scores = {'mIoU': miou, 'mBIoU': miou / 2}
        state = Progress(cell.identity, 'done', 1449, 1449, seconds=miou, peak_bytes=number << 20, scores=scores)
        state.write(tmp_path / cell.file_name, cell)
        made.append(cell)
    write_tables(tmp_path, tmp_path)
    *single, spread = rows(tmp_path)
    assert sorted(row['mIoU'] for row in single) == ['40.00', '44.00', '7.00']
    assert spread['weights'].endswith('+ 2 checkpoints') and spread['status'] == 'mean ± standard deviation'
    assert (spread['mIoU'], spread['boundary IoU'], spread['seconds']) == ('42.00 ± 2.83', '21.00 ± 1.41', '42.00')
    assert spread['peak MiB'] == '1' and spread['pictures'] == '1449'


def test_published_numbers_stand_beside_the_same_conditions(tmp_path: Path) -> None:
    cells, _ = make_cells(['maskclip', 'sclip'], ['voc20'], ['dinoiser', 'sclip'], CellOptions())
    for cell in cells:
        Progress(cell.identity, status='done', done=1449, total=1449, scores={'mIoU': 50.0}).write(
            tmp_path / cell.file_name, cell
        )
    write_tables(tmp_path, tmp_path)
    found = {(row['preset'], row['protocol']): row for row in rows(tmp_path)}
    assert {key: row['published'] for key, row in found.items()} == {
        ('maskclip', 'dinoiser'): '61.8',
        ('maskclip', 'sclip'): '',
        ('sclip', 'dinoiser'): '',
        ('sclip', 'sclip'): '80.4 / 81.5',
    }
    assert all(row['pictures'] == '1449' for row in found.values())
    assert '80.4 (ViT-B-16 openai, sclip)' in found['sclip', 'dinoiser']['published under other conditions']


def test_file_of_a_cell_is_json_for_others(cell: Cell, tmp_path: Path) -> None:
    Progress(cell.identity).write(tmp_path / 'cell.json', cell)
    content = json.loads((tmp_path / 'cell.json').read_text())
    assert content['cell']['preset'] == 'maskclip' and content['status'] == 'running'


@pytest.mark.parametrize(('threshold', 'all_background'), [(1.0, True), (1e-6, False)])
def test_unsure_pixels_become_label_0_though_it_is_called_sky(
    options: CellOptions, tmp_path: Path, threshold: float, all_background: bool
) -> None:
    changed = {**options.overrides, 'model.post.prob_threshold': threshold, 'model.post.area_threshold': None}
    cells, _ = make_cells(['sclip'], ['voc21'], ['sclip'], replace(options, overrides=changed))
    areas = evaluate_cell(cells[0], tmp_path / 'cell.json').areas['prediction']
    assert sum(areas) > 0 and (areas[0] == sum(areas)) == all_background


def test_method_with_weights_of_its_own(options: CellOptions, tmp_path: Path) -> None:
    """CLIP-DINOiser: its checkpoint is read, its background rule is on, and another checkpoint is another cell."""
    arch = {**ARCH, 'vision_cfg': {**ARCH['vision_cfg'], 'layers': 4}}
    overrides = {**options.overrides, 'model.clip.arch': arch, 'model.clip.pretrained': None}
    found = []
    for number in range(2):
        checkpoint = tmp_path / f'{number}.safetensors'
        chosen = replace(options, overrides=overrides, checkpoints={'dinoiser': str(checkpoint)})
        config = cell_config('dinoiser', 'voc21', 'dinoiser', chosen)
        torch.manual_seed(number)
        model = MODELS.build(config.model)
        assert model.background_rule
        save_file({name: value.contiguous() for name, value in model.state_dict().items()}, checkpoint)
        cells, _ = make_cells(['dinoiser'], ['voc21'], ['own'], chosen)
        found.append(evaluate_cell(cells[0], tmp_path / cells[0].file_name))
    assert found[0].identity != found[1].identity and len(list(tmp_path.glob('dinoiser__*.json'))) == 2
    assert all(state.status == 'done' for state in found)
    assert found[0].areas['prediction'] != found[1].areas['prediction']


def test_templates_are_the_protocols() -> None:
    found = {
        (name, rules): cell_config(name, 'voc20', rules, CellOptions()).model.get('templates')
        for name in ('maskclip', 'maskclip_orig')
        for rules in ('dinoiser', 'maskclip_orig')
    }
    assert found == {
        ('maskclip', 'dinoiser'): None,
        ('maskclip', 'maskclip_orig'): 'maskclip',
        ('maskclip_orig', 'dinoiser'): 'openai_imagenet',
        ('maskclip_orig', 'maskclip_orig'): None,
    }


def test_set_of_ones_own(options: CellOptions, tmp_path: Path) -> None:
    """A config describes the set; its numbers stand in the table beside nothing published."""
    root = write_dataset('camvid', tmp_path / 'camvid', num_train=1, num_val=2, size=(40, 56))
    path = tmp_path / 'mine.py'
    pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
    dataset = dict(type='CamVidDataset', data_prefix=dict(img_path='test', seg_map_path='testannot'), pipeline=pipeline)
    path.write_text(f'test_dataloader = dict(dataset={dataset!r})\n')
    chosen = replace(
        options,
        set_configs={'mine': str(path)},
        data_roots={'mine': str(root)},
        overrides={'model.clip.arch': ARCH, 'model.templates': 'plain'},
    )
    cells, _ = make_cells(['maskclip', 'sclip'], ['mine'], ['own'], chosen)
    assert [cell.protocol for cell in cells] == ['config', 'config']
    states = run_grid(cells, tmp_path / 'out', HERE)
    assert [state.status for state in states] == ['done', 'done'], states
    assert [(row['set'], row['pictures'], row['published']) for row in rows(tmp_path / 'out')] == [
        ('mine', '2', '')
    ] * 2
    path.write_text(f"{path.read_text()}model = dict(vocabulary='camvid_synonyms', test_cfg=dict(mode='whole'))\n")
    assert make_cells(['sclip'], ['mine'], ['own'], chosen)[0][0].config['model']['vocabulary'] == 'camvid_synonyms'
    path.write_text('model = dict()\n')
    with pytest.raises(OptionError, match='has no test_dataloader'):
        make_cells(['sclip'], ['mine'], ['own'], chosen)


def test_miniworld_with_a_clip_in_a_folder(tmp_path: Path) -> None:
    """The set and the weights that a machine without downloads can make for itself."""
    torch.manual_seed(0)
    architecture = dict(
        embed_dim=16,
        vision_cfg=dict(image_size=64, patch_size=8, width=32, layers=2, head_width=16),
        text_cfg=dict(context_length=40, width=16, heads=2, layers=1),
    )
    spec = dict(mean=[120.0] * 3, std=[60.0] * 3, bgr_to_rgb=True)
    model = MODELS.build(
        dict(
            type='ContrastiveCLIP',
            words='miniworld',
            architecture=architecture,
            data_preprocessor=dict(type='ImgDataPreprocessor', **spec),
        )
    )
    (tmp_path / 'clip').mkdir()
    export_clip(model, tmp_path / 'clip')
    write_miniworld('ade20k', tmp_path / 'world', count=1, val_count=2)
    options = CellOptions(model=f'local-dir:{tmp_path / "clip"}', data_roots={'miniworld': str(tmp_path / 'world')})
    cells, _ = make_cells(['maskclip', 'naclip'], ['miniworld'], ['own'], options)
    states = run_grid(cells, tmp_path / 'out', HERE)
    assert [(state.status, state.done) for state in states] == [('done', 2)] * 2, states
    assert [(row['set'], row['pictures'], row['protocol']) for row in rows(tmp_path / 'out')] == [
        ('miniworld', '2', 'miniworld')
    ] * 2


# --- towers ----------------------------------------------------------------------------------------------------------


def test_a_tower_is_the_same_cell_as_when_it_is_named_alone(options: CellOptions) -> None:
    plain = replace(options, pretrained=None)
    specs = [f'ViT-B-16={options.pretrained}', 'ViT-B-32', 'RN50=random', 'local-dir:a=b']
    alone = [
        options,
        replace(plain, model='ViT-B-32'),
        replace(plain, model='RN50', pretrained='random'),
        replace(plain, model='local-dir:a=b'),
    ]
    for tower, single in zip(towers_of(specs, plain), alone, strict=True):
        (one,), (other,) = (make_cells(['clip'], ['voc20'], ['own'], o)[0] for o in (tower, single))
        assert (one.identity, one.file_name, one.weights) == (other.identity, other.file_name, other.weights)
    for specs, message in ((['=x'], 'must be'), (['RN50='], 'must be'), (['RN50', 'RN50'], 'named twice')):
        with pytest.raises(OptionError, match=message):
            towers_of(specs, plain)
    with pytest.raises(OptionError, match='twice'):
        towers_of(['RN50'], options)


def test_towers_beside_methods_and_a_reason_where_one_cannot_be_read(options: CellOptions, tmp_path: Path) -> None:
    small = {**options.overrides, 'model.clip.arch': {**ARCH, 'vision_cfg': {**ARCH['vision_cfg'], 'layers': 2}}}
    resnet = dict(image_size=64, layers=[1, 1, 1, 1], width=8, head_width=64, patch_size=None)
    plain = replace(options, pretrained=None, limit=1, overrides=small)
    vit, conv = towers_of([f'ViT-B-16={options.pretrained}', 'RN50=random'], plain)
    conv = replace(conv, overrides={**small, 'model.clip.arch': {**ARCH, 'vision_cfg': resnet}})
    cells = [cell for tower in (vit, conv) for cell in make_cells(['clip', 'sclip'], ['voc20'], ['own'], tower)[0]]
    states = run_grid(cells, tmp_path, HERE)
    assert [state.status for state in states] == ['done', 'done', 'done', 'impossible'], states
    alone = run_grid(make_cells(['clip'], ['voc20'], ['own'], conv)[0], tmp_path / 'alone', HERE)[0]
    assert (alone.areas, alone.scores) == (states[2].areas, states[2].scores)  # random weights, too
    table = (tmp_path / 'towers.md').read_text()
    first, second = (line.split(' | ') for line in table.splitlines() if line.startswith(('| ViT-B-16', '| RN50')))
    assert first[1] == f'{states[0].scores["mIoU"]:.2f}' and second[2].startswith('impossible [1]')
    assert '[1] ResNetTower is read as trained' in table and "preset='clip'" in table
    said: list[str] = []
    again = run_grid(cells, tmp_path, HERE, said.append)
    assert again == states and sum('found impossible before' in line for line in said) == 1


@pytest.mark.parametrize('name', ['ade20k_full', 'context459', 'mess_uavid', 'mess_dram'])
def test_further_sets_are_cells(name: str) -> None:
    entry = evaluation_set(name)
    config = cell_config('sclip', name, default_protocol('sclip', name).name, CellOptions())
    dataset = config.test_dataloader.dataset
    steps = {step.type: step for step in dataset.pipeline}
    assert steps['CheckLabelRange'].get('ignore_index', 255) == entry.ignore_index
    assert ('LoadWideAnnotations' in steps) is (entry.num_classes > 255)
    if name.startswith('mess'):
        assert len(dataset.metainfo.classes) == entry.num_classes and dataset.data_root == f'data/mess/{name[5:]}'


def test_sixteen_bit_labels_are_ignored_at_65535() -> None:
    label = torch.tensor([[0, 255, 299, 65535]])
    sample = SegDataSample(gt_sem_seg=PixelData(data=label[None]))
    sample.set_data(dict(pred_sem_seg=PixelData(data=torch.tensor([[[0, 255, 0, 7]]]))))
    found, _, _ = _areas(SimpleNamespace(test_step=lambda _: [sample]), {'data_samples': [sample]}, 300)
    assert found[3].nonzero()[0].tolist() == [0, 255, 299] and found[2].nonzero()[0].tolist() == [0, 255]
