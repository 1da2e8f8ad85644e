"""A watched folder: each picture once, half-written ones wait, a restart goes on, the report grows."""

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from denseclip.apis import anomaly_watch as anomaly_watch_api
from denseclip.apis.anomaly_calibration import Calibration
from denseclip.apis.anomaly_result import AnomalyResult
from denseclip.apis.anomaly_watch import Watch, alone
from denseclip.apis.errors import UserError
from denseclip.apis.images import pictures_of
from denseclip.cli import anomaly_watch
from denseclip.cli.main import main


class Brightness:
    """A model whose scores are brightness; it counts what it has seen."""

    object_name, subject, task, most_at_once, model = '', (), 'anomaly', 1, None

    def __init__(self):
        self.seen = []

    def vouches(self, path):
        return True

    def __call__(self, image, **options):
        pictures, several = pictures_of(image)
        self.seen += [picture.source.name for picture in pictures]
        found = []
        for picture in pictures:
            scores = picture.rgb.max(axis=2).astype(np.float32) / 255
            even = Calibration.of_scores([])
            found.append(AnomalyResult(scores, float(scores.max()), picture.rgb, picture.source, even, even))
        return found if several else found[0]


def draw(path, spot=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.random.default_rng(list(path.stem.encode())).integers(40, 60, (24, 32, 3), dtype=np.uint8)
    if spot:
        image[8:14, 10:18] = spot
    Image.fromarray(image).save(path)
    return path


@pytest.fixture
def start(tmp_path):
    good = [draw(tmp_path / f'shots/normal/{k}.png') for k in range(6)]

    def begin(out='out', pictures=good, folder='shots'):
        model = Brightness()
        watch = Watch(tmp_path / folder, tmp_path / out, model, pictures, skipped=[tmp_path / 'shots/normal'])
        model.seen.clear()
        return watch, model

    return begin


def table(tmp_path):
    with (tmp_path / 'out/scores.csv').open(encoding='utf-8') as file:
        return {row['name']: row['anomalous'] for row in csv.DictReader(file)}


def test_pictures_are_judged_once_and_the_report_grows(start, tmp_path):
    watch, model = start()
    assert watch.look() == [] and not model.seen  # the good ones are not judged
    draw(tmp_path / 'shots/a.png', 250)
    draw(tmp_path / 'shots/line 2/a.png')
    assert watch.look() == []  # it may still be written
    assert [entry.row['anomalous'] for entry in watch.look()] == [1, 0]
    assert table(tmp_path) == {'a': '1', 'line 2_a': '0'}
    draw(tmp_path / 'shots/b.png', 240)
    watch.look()
    assert len(watch.look()) == 1 and watch.look() == []
    assert model.seen == ['a.png', 'a.png', 'b.png']
    assert table(tmp_path) == {'a': '1', 'b': '1', 'line 2_a': '0'}
    report = (tmp_path / 'out/report.html').read_text(encoding='utf-8')
    assert report.count('heatmaps/b.jpg') and (tmp_path / 'out/heatmaps/b.jpg').is_file()
    assert json.loads((tmp_path / 'out/summary.json').read_text())['pictures'] == 3


def test_what_is_half_written_waits(start, tmp_path):
    watch, model = start()
    whole = draw(tmp_path / 'elsewhere.png', 250).read_bytes()
    slow = tmp_path / 'shots/slow.png'
    slow.write_bytes(whole[: len(whole) // 2])
    assert [watch.look() for _ in range(4)] == [[]] * 4
    assert model.seen == [] and 'slow.png' in watch.waiting[0]
    slow.write_bytes(whole)
    assert watch.look() == [] and len(watch.look()) == 1
    assert watch.waiting == [] and table(tmp_path) == {'slow': '1'}


def test_nothing_is_judged_twice_after_a_restart(start, tmp_path):
    watch, _ = start()
    draw(tmp_path / 'shots/a.png', 250)
    watch.look(), watch.look()
    with (tmp_path / 'out/.denseclip/judged.jsonl').open('a') as file:
        file.write('{"key": "torn')  # a power cut
    draw(tmp_path / 'shots/b.png')
    again, model = start()
    assert len(again.written) == 1
    again.look(), again.look()
    assert model.seen == ['b.png'] and table(tmp_path) == {'a': '1', 'b': '0'}
    third, model = start()
    assert third.look() == third.look() == [] and model.seen == [] and len(third.written) == 2


def test_two_watches_at_a_time_judge_nothing_twice(start, tmp_path, monkeypatch):
    with alone(tmp_path / 'out'):
        watch, _ = start()
        draw(tmp_path / 'shots/a.png', 250)
        watch.look(), watch.look()
        with pytest.raises(UserError, match='another process watches'), alone(tmp_path / 'out'):
            pass
    lines = tmp_path / 'out/.denseclip/judged.jsonl'
    lines.write_text(lines.read_text() * 2)  # as two have left it that knew no lock
    with alone(tmp_path / 'out'):
        again, _ = start()
        again.report()
    assert len(again.written) == 1 and (tmp_path / 'out/scores.csv').read_text().count('a.png') == 1
    (tmp_path / 'mac').mkdir()
    (tmp_path / 'mac/.DS_Store').touch()
    with alone(tmp_path / 'mac'):
        start(out='mac')


def test_a_long_report_is_written_now_and_then(start, tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(anomaly_watch_api.time, 'monotonic', lambda: now[0])
    monkeypatch.setattr(anomaly_watch_api, '_SMALL', 0)
    writing = anomaly_watch_api.write_tables

    def slow(*given):
        now[0] += 2
        return writing(*given)

    monkeypatch.setattr(anomaly_watch_api, 'write_tables', slow)
    watch, _ = start()
    for name, wait, there in (('a', 0, 'a'), ('b', 39, 'a'), ('c', 2, 'ab')):
        draw(tmp_path / f'shots/{name}.png')
        now[0] += wait
        watch.look(), watch.look()
        assert ''.join(sorted(table(tmp_path))) == there
    draw(tmp_path / 'shots/d.png')
    watch.look(), watch.look()
    watch, _ = start()  # the other one was killed
    watch.look()
    assert len(table(tmp_path)) == 4


def test_other_good_pictures_and_strange_folders_are_refused(start, tmp_path):
    start()
    others = [draw(tmp_path / f'bright/{k}.png', 150 + k) for k in range(6)]
    with pytest.raises(UserError, match='begun with other good pictures'):
        start(pictures=others)
    with pytest.raises(UserError, match='another folder'):
        start(folder='elsewhere')
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine/notes.txt').write_text('x')
    with pytest.raises(UserError, match='no watch has written'):
        start(out='mine')


@pytest.fixture
def typed(tmp_path):
    from bright_spots import CONFIG

    for k in range(6):
        draw(tmp_path / f'shots/normal/{k}.png')
    (tmp_path / 'model.json').write_text(json.dumps(CONFIG))
    return ['anomaly', str(tmp_path / 'shots'), '--object', 'nut', '--config', str(tmp_path / 'model.json')]


def test_the_command_stops_cleanly(typed, tmp_path, monkeypatch, capsys):
    draw(tmp_path / 'shots/a.png', 250)
    looks = []

    def sleep(seconds):
        looks.append(seconds)
        if len(looks) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(anomaly_watch, 'time', SimpleNamespace(sleep=sleep))
    assert main([*typed, '--watch', '0.5', '--out', str(tmp_path / 'out'), '--fail-on-defect']) == 3
    said = capsys.readouterr().out
    assert 'ANOMALOUS  ' in said and 'stopped: 1 pictures, 1 anomalous' in said and looks == [0.5] * 3


def test_one_good_picture_cannot_tell_what_is_usual(typed, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(anomaly_watch, 'give_references', lambda *_: ([], []))
    assert main([*typed, '--watch', '--out', str(tmp_path / 'out')]) == 2
    assert 'two different good pictures' in capsys.readouterr().err and not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        (['--watch', '--json'], '--out DIR'),
        (['--watch', '0', '--out', 'o'], 'seconds between looks'),
        (['--watch', '--out', 'o', '--threshold', 'F1'], 'no labels'),
        (['--watch', '--out', 'o', '--normal', 'nowhere'], 'nowhere'),
        (['--watch', '--out', 'o', '--force'], 'overwrites nothing'),
    ],
)
def test_what_does_not_go_with_a_watch_is_said(typed, options, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([*typed, *options]) == 2
    assert said in capsys.readouterr().err and not (tmp_path / 'o').exists()


def test_results_do_not_arrive_as_pictures(typed, tmp_path, capsys):
    assert main([*typed, '--watch', '--out', str(tmp_path / 'shots')]) == 2
    assert 'among the pictures that arrive' in capsys.readouterr().err
