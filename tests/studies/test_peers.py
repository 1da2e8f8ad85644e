"""The comparison with peers: its rows, its child processes, its table."""

import importlib
import sys

import numpy as np
import pytest
import torch
from torch import nn

from studies.peers import __main__ as peers
from studies.peers import metrics, steps
from studies.peers.__main__ import Side, main
from studies.peers.precision import in_precision
from studies.peers.rows import ROWS
from studies.peers.table import Further, Result, agreement, heading
from studies.peers.theirs import _FAMILIES
from studies.peers.weights import write_clip

PEER = """
import torch
def build(request):
    print('words that are no answer')
    kept = []
    def run():
        kept.append(torch.zeros(request['megabytes'] * 2**18) + 1)
        return torch.full((2, 3), request['label'])
    return run
"""


def test_rows_name_what_exists():
    from denseclip.clip.presets import PRESETS

    assert len({row.name for row in ROWS}) == len(ROWS)
    by_preset = [row for row in ROWS if not row.module]
    assert {row.family for row in by_preset} == set(_FAMILIES) and {row.preset for row in by_preset} <= set(PRESETS)
    for row in set(ROWS) - set(by_preset):
        module = importlib.import_module(f'studies.peers.{row.module}')
        assert callable(module.theirs) and callable(module.ours) and row.classes is not None
    assert all(row.is_package or (len(row.commit) == 7 and '/' in row.repository) for row in ROWS)
    assert all(side % 16 == 0 for row in ROWS for side in row.size)


def test_answers_agree_as_labels_or_as_values():
    labels = np.array([[0, 1], [2, 3]])
    assert agreement(labels, np.array([[0, 1], [2, 4]])) == 0.75
    values = np.array([[0.0, 1000.0], [5.0, 6.0]], np.float32)
    assert agreement(values, values + np.array([[0.5, 0.5], [0.5, 2.0]], np.float32)) == 0.75
    loss = np.array([200.0], np.float32)
    assert agreement(loss, loss + 0.1) == 1 and agreement(loss, loss + 0.3) == 0
    with pytest.raises(RuntimeError, match='shape'):
        agreement(labels, labels[:1])
    nothing = agreement(np.full((2, 2), 7), np.full((2, 2), 7))
    assert 'one label alone' in Result(ROWS[0], 21, (1.0,), (1.0,), (1, 1), nothing).line()


def test_the_ratio_is_that_of_the_medians():
    result = Result(ROWS[0], 21, (4.0, 3.0, 50.0), (2.0, 1.0, 1.5), (3 * 2**20, 2**20), 0.5)
    cells = [cell.strip() for cell in result.line().strip('|').split('|')]
    assert cells[2:] == ['21', '4.00 / 1.50', '2.67', '3 / 1', '50.00 %']
    assert len(cells) == heading([]).splitlines()[0].count('|') - 1 and ROWS[0].commit in cells[0]


def test_further_precisions_have_columns_of_their_own():
    further = (Further((0.5, 2.0, 0.4), 0.75), None)
    result = Result(ROWS[0], 21, (4.0, 3.0, 50.0), (2.0,), (0, 0), 1.0, further)
    cells = [cell.strip() for cell in result.line()[1:-1].split('|')]
    first, second = heading(['bf16', 'int8-dynamic']).splitlines()
    assert cells[7:] == ['0.50', '8.00', '75.00 %', '', '', '']
    assert first.count('|') == second.count('|') == result.line().count('|')
    assert [cell.strip() for cell in first.split('|')][8:11] == ['CPU s, ours in bf16', 'Ratio, bf16', 'Equal, bf16']


def test_a_precision_is_put_on_by_the_products_own_switch():
    class Tiny(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = nn.Sequential(nn.Linear(8, 4))

    model, x = Tiny(), torch.ones(1, 8)
    plain = in_precision(model, dict(precision='fp32'), lambda: model.backbone(x))()
    rounded = in_precision(model, dict(precision='bf16'), lambda: model.backbone(x))()
    assert (plain.dtype, rounded.dtype) == (torch.float32, torch.bfloat16)
    assert model.backbone[0].weight.dtype == torch.bfloat16 and not torch.is_autocast_enabled('cpu')
    with pytest.raises(ValueError, match='use bf16'):
        in_precision(Tiny(), dict(precision='int8-dynamic'), lambda: x)


def test_all_sides_run_in_turn_and_what_is_refused_leaves_its_cells_empty(tmp_path, capsys, monkeypatch):
    turns = []

    class Still:
        extra = 0

        def __init__(self, name):
            self.name = name

        def run(self):
            turns.append(self.name)
            return 1.0

        def end(self):
            turns.append('end')

    def start(row, name, request, args, folder):
        if name == 'int8-dynamic':
            raise RuntimeError('a trace\nValueError: use bf16.')
        np.save(folder / f'{name}.npy', np.array([0, 1, 2, 3 + (name == 'bf16')]))
        return Still(name)

    monkeypatch.setattr(peers, 'start', start)
    monkeypatch.setattr('studies.peers.weights.write_weights', lambda folder: {})
    (tmp_path / 'SCLIP').mkdir()
    asked = ['--rows', 'sclip', '--classes', '21', '--repeats', '2', '--precision', 'bf16', 'fp32', 'int8-dynamic']
    assert main([str(tmp_path), *asked]) == 1
    said = capsys.readouterr()
    assert said.err == 'sclip, K = 21, int8-dynamic: ValueError: use bf16.\n'
    assert turns == ['theirs', 'fp32', 'bf16'] * 2 + ['end'] * 3
    cells = [cell.strip() for cell in said.out.splitlines()[2].split('|')]
    assert cells[7:] == ['100.00 %', '1.00', '1.00', '75.00 %', '', '', '', '']


def test_metrics_and_training_steps_have_no_further_precision():
    training = ['fcclip_step', 'maft_step', 'ovseg_step', 'denseclip_rn50_step', 'denseclip_vit_step']
    assert [row.name for row in ROWS if not row.has_precisions] == [*training, 'iou', 'pq']


def test_a_training_step_leaves_nothing_to_chance():
    layer = torch.nn.TransformerEncoderLayer(8, 2, 16, dropout=0.5, batch_first=True).train()
    x = torch.randn(2, 5, 8)
    assert not torch.equal(layer(x), layer(x))
    assert torch.equal(steps.without_chance(layer)(x), layer(x))
    loss = steps.gradients_as_values({'loss_a': layer(x).sum() ** 2, 'acc': torch.full((1,), 1e6)}, layer)
    assert loss.shape == (1,) and 0 <= loss < 1e5 and all(p.grad is None for p in layer.parameters())


def test_segments_and_labels_of_a_training_step_are_the_same_truth():
    masks, labels, found = steps.ellipses((40, 60)), steps.segment_labels(7), steps.label_map((40, 60), 7)
    assert masks[0].any() and (found[masks[0]] == labels[0]).all()
    assert torch.equal(found != 255, masks.any(dim=0)) and set(found.unique().tolist()) <= {*labels.tolist(), 255}


def test_a_side_runs_when_told_and_dies_with_its_last_words(tmp_path):
    (tmp_path / 'tiny_peer.py').write_text(PEER)
    request = dict(threads=1, path=[str(tmp_path)], module='tiny_peer', function='build', label=3, megabytes=32)
    side = Side(sys.executable, {**request, 'labels': str(tmp_path / 'labels.npy')}, tmp_path / 'log')
    assert side.extra >= 30 * 2**20 and side.run() > 0 and side.run() > 0
    side.end()
    assert side.process.poll() == 0 and (tmp_path / 'labels.npy').is_file()
    with pytest.raises(RuntimeError, match="no attribute 'missing'"):
        Side(sys.executable, {**request, 'function': 'missing', 'labels': ''}, tmp_path / 'log')
    side = Side(sys.executable, {**request, 'labels': str(tmp_path / 'labels.npy')}, tmp_path / 'log')
    (tmp_path / 'log').write_text('')
    side.process.kill()
    side.process.wait()
    with pytest.raises(RuntimeError, match='ended with -9; -9 where memory ran out'):
        side.answer()


def test_both_count_the_same_panoptic_maps(tmp_path, monkeypatch):
    panoptic = importlib.import_module('mmdet.evaluation.functional.panoptic_utils')
    for name in ('PQStat', 'rgb2id'):  # the peer's side sets them; they come back after the test
        monkeypatch.setattr(panoptic, name, getattr(panoptic, name, None), raising=False)
    request = dict(family='pq', scratch=str(tmp_path), size=(48, 64), names=['sky', 'road', 'car'])
    theirs, ours = (side(request)().numpy() for side in (metrics.theirs, metrics.ours))
    assert agreement(theirs, ours) == 1 and theirs[:3].sum(axis=1).min() > 0


def test_weights_come_through_half_precision_as_they_are(tmp_path):
    state = torch.load(write_clip(tmp_path / 'clip.pt', width=64, layers=1, patch=32, embed=64), weights_only=True)
    assert 'visual.conv1.weight' in state and all(torch.equal(v, v.half().float()) for v in state.values())


def test_what_is_there_is_listed(tmp_path, capsys):
    (tmp_path / ROWS[0].folder).mkdir()
    assert main([str(tmp_path), '--list']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(ROWS) and '(there)' in lines[0] and '(not there)' in lines[1]
    package = next(line for line in lines if line.startswith('winclip'))
    assert 'anomalib==' in package and '(not there)' in package
    (tmp_path / 'anomalib').mkdir()
    assert main([str(tmp_path), '--list', '--peer-path', str(tmp_path)]) == 0
    assert '(there)' in next(line for line in capsys.readouterr().out.splitlines() if line.startswith('winclip'))
