"""Files of an inspection: all that can be written is written."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from denseclip.apis.anomaly_calibration import Calibration
from denseclip.apis.anomaly_folder import Inspection, Item
from denseclip.apis.anomaly_output import write_outputs
from denseclip.files.scratch import ScratchFolder

COUNT = 4


@pytest.fixture
def found(tmp_path):
    rng = np.random.default_rng(0)
    raw = [0.1, 0.9, 0.3, 0.2]
    scores = Calibration.of_scores(raw)
    with ScratchFolder(tmp_path / 'maps', 'maps-') as scratch:
        found = Inspection(raw=raw, pictures=scores, pixels=scores, scratch=scratch)
        for index in range(COUNT):
            path = tmp_path / f'p{index}.png'
            Image.fromarray(rng.integers(0, 256, (24, 30, 3), dtype=np.uint8)).save(path)
            found.items.append(Item(path))
            np.save(found.map_file(index), rng.random((12, 15), dtype=np.float32) * raw[index])
        yield found


@pytest.mark.parametrize('gone', [(), (0,), (1, 2), (0, 1, 2, 3)])
def test_a_picture_that_goes_while_results_are_written_takes_no_other_along(found, tmp_path, gone):
    for index in gone:
        found.items[index].path.unlink()
    folder = tmp_path / 'out'
    folder.mkdir()
    stems = [item.path.stem for item in found.items]
    assert all(path.is_file() for path in write_outputs(found, folder, stems, 'part'))
    left = {stem for index, stem in enumerate(stems) if index not in gone}
    with (folder / 'scores.csv').open() as file:
        assert {row['name'] for row in csv.DictReader(file)} == left
    assert {path.stem for path in folder.glob('masks/*')} == left
    told = json.loads((folder / 'summary.json').read_text())['unreadable']
    assert sorted(failure.path for failure in found.failures) == [found.items[index].path for index in gone]
    report = (folder / 'report.html').read_text()
    assert len(told) == len(gone) and all(f'p{index}.png' in report for index in range(COUNT))


def test_a_map_is_calibrated_once_for_its_verdict_and_once_for_its_files(found, tmp_path, monkeypatch):
    maps, plain = [], Calibration.__call__
    monkeypatch.setattr(Calibration, '__call__', lambda self, raw: maps.append(np.ndim(raw)) or plain(self, raw))
    (tmp_path / 'out').mkdir()
    write_outputs(found, tmp_path / 'out', [item.path.stem for item in found.items], 'part')
    assert maps.count(2) == 2 * COUNT


def test_a_map_that_is_handed_out_may_be_changed(found):
    result = found.result(1)
    scores = result.score_map
    scores[:] = 0
    assert result.boxes() and result.score_map.max() > 0.5
