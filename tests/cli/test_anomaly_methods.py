"""``denseclip anomaly`` without words: good pictures as references, pictures that judge one another, which and why."""

import argparse
import csv
import json

import numpy as np
import pytest
from PIL import Image

from denseclip.apis.errors import UserError
from denseclip.cli.anomaly_models import load_namer
from denseclip.cli.main import main
from denseclip.clip.anomaly_prompts.learnt import LearntPair
from denseclip.models.functional.patch_memory import PatchMemory

SMALL = ('--trunk', 'dino', '--image-size', '64', '--device', 'cpu')


def draw(path, spot=False):
    """Stripes with noise of their own; some with a bright block."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng([*path.stem.encode()]).integers(0, 25, (64, 80, 3))
    image = (90 + 40 * np.sin(np.arange(80) / 3)[None, :, None] + noise).astype(np.uint8)
    if spot:
        image[20:36, 30:46] = 255
    Image.fromarray(image).save(path)


@pytest.fixture
def shots(tmp_path):
    root = tmp_path / 'shots'
    for index in range(6):
        draw(root / 'normal' / f'n{index}.png')
    for index in range(2):
        draw(root / 'scratch' / f's{index}.png', spot=True)
    return root


@pytest.fixture
def flat(tmp_path):
    for index in range(7):
        draw(tmp_path / 'flat' / f'p{index}.png', spot=index == 3)
    return tmp_path / 'flat'


@pytest.fixture
def run(tmp_path, capsys):
    def call(folder, *options, out='out'):
        code = main(['anomaly', str(folder), *SMALL, '--out', str(tmp_path / out), *options])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def rows(path):
    with (path / 'scores.csv').open(encoding='utf-8') as file:
        return {row['name']: row for row in csv.DictReader(file)}


def test_a_folder_with_good_pictures_is_compared_with_them(run, shots, tmp_path):
    code, printed, err = run(shots)
    assert (code, err) == (0, '') and 'method: references (6 good pictures to compare with)' in printed
    assert 'the 6 good pictures, each scored without itself' in printed
    found = rows(tmp_path / 'out')
    assert {name for name, row in found.items() if row['anomalous'] == '1'} == {'s0', 's1'}
    assert 'image_AUROC 100.0' in printed and all(float(row['raw_score']) > 0 for row in found.values())
    assert json.loads((tmp_path / 'out/summary.json').read_text())['method'].startswith('method: references')


def test_good_pictures_elsewhere_are_not_reported(run, shots, flat, tmp_path):
    code, printed, _ = run(flat, '--normal', str(shots / 'normal'))
    found = rows(tmp_path / 'out')
    assert code == 0 and set(found) == {f'p{index}' for index in range(7)}
    assert [name for name, row in found.items() if row['anomalous'] == '1'] == ['p3']
    code, printed, _ = run(flat, '--normal', str(shots / 'normal/n0.png'), out='one')
    assert code == 0 and '1 good picture to' in printed and 'themselves, most of which should be good' in printed
    assert next(iter(rows(tmp_path / 'one'))) == 'p3'


def test_pictures_without_labels_judge_one_another(run, flat, tmp_path):
    code, printed, _ = run(flat)
    assert code == 0 and 'method: batch (no good pictures were named, so 7 pictures judge one another)' in printed
    assert next(iter(rows(tmp_path / 'out'))) == 'p3'
    renamed = tmp_path / 'renamed'
    renamed.mkdir()
    for index, path in enumerate(sorted(flat.iterdir(), reverse=True)):
        (renamed / f'{index}.png').write_bytes(path.read_bytes())
    run(renamed, out='again')
    first, second = ([row['score'] for row in rows(tmp_path / out).values()] for out in ('out', 'again'))
    assert first == second, 'the order of the pictures plays no part'


@pytest.mark.parametrize('count', [1, 2, 4])
def test_few_pictures_give_numbers(run, flat, tmp_path, count):
    for path in sorted(flat.iterdir())[count:]:
        path.unlink()
    code, printed, err = run(flat, '--method', 'batch')
    assert (code, err) == (0, '') and 'rough guide' in printed and 'nan' not in printed
    assert all(0 < float(row['score']) < 1 for row in rows(tmp_path / 'out').values())


def test_a_batch_of_good_parts_is_not_condemned(run, shots, tmp_path):
    code, _, _ = run(shots / 'normal')
    assert code == 0 and sum(row['anomalous'] == '1' for row in rows(tmp_path / 'out').values()) <= 1


def test_an_unreadable_picture_does_not_stop_the_batch(run, flat):
    (flat / 'broken.png').write_bytes(b'')
    code, printed, err = run(flat)
    assert code == 2 and 'broken.png' in err and '7 pictures' in printed


def test_an_unreadable_good_picture_is_reported_or_refused(run, shots, flat):
    (shots / 'normal/broken.png').write_bytes(b'')
    code, printed, err = run(shots)
    assert code == 2 and '1 of 9 pictures failed' in err and 'broken.png' in err and '8 pictures' in printed
    code, _, err = run(flat, '--normal', str(shots / 'normal'), out='other')
    assert code == 2 and 'broken.png' in err and len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        (('--method', 'magic'), 'there are auto, references, batch'),
        (('--method', 'references'), 'name them with --normal FOLDER'),
        (('--method', 'winclip'), 'say what the pictures show with --object'),
        (('--method', 'winclip', '--object', 'nut'), '--trunk, --image-size and --turns go with'),
        (('--normal', 'nowhere/*.png'), 'no file matches'),
        (('--trunk', 'tree'), "no trunk is called 'tree'"),
        (('--trunk', 'clip'), 'name one with --clip'),
        (('--trunk', 'timm:resnet18'), 'name a file with --pretrained'),
        (('--image-size', '5'), 'must lie between 32 and 4096'),
        (('--method', 'batch', '--model', 'winclip'), 'leave one out'),
        (('--method', 'batch', '--weights', 'clip.pt'), 'takes no --weights'),
        (('--domain', 'texture'), 'no use for --domain'),
        (('--method', 'batch', '--turns'), '--method batch has none'),
        (('--clip', 'ViT-B-32'), 'nothing would use --clip with --trunk dino'),
        (('--pretrained', 'openai'), 'nothing would use --pretrained'),
        (('--clip', 'ViT-B-32', '--defects', 'hole'), "'ViT-B-32' would have random weights"),
    ],
)
def test_what_cannot_work_is_said_in_a_sentence(run, flat, tmp_path, options, said):
    code, _, err = run(flat, *options)
    assert code == 2 and said in err and len(err.strip().splitlines()) == 1
    assert not (tmp_path / 'out/scores.csv').exists()


def test_the_folder_s_own_good_pictures_count_once_when_they_are_named(run, shots, tmp_path):
    run(shots)
    (tmp_path / 'link').symlink_to(shots / 'normal')
    code, printed, _ = run(shots, '--normal', str(tmp_path / 'link'), out='again')
    assert code == 0 and 'the 6 good pictures, each scored without itself' in printed
    first, second = (json.loads((tmp_path / out / 'summary.json').read_text()) for out in ('out', 'again'))
    assert first['calibration'] == second['calibration'] and first['measures'] == second['measures']


def test_equal_good_pictures_are_one_and_tell_no_threshold(run, shots, flat, tmp_path):
    for name in ('a.png', 'b.png'):
        (tmp_path / 'twins').mkdir(exist_ok=True)
        (tmp_path / 'twins' / name).write_bytes((shots / 'normal/n0.png').read_bytes())
    code, printed, _ = run(flat, '--normal', str(tmp_path / 'twins'))
    assert code == 0 and 'themselves, most of which should be good' in printed
    assert [name for name, row in rows(tmp_path / 'out').items() if row['anomalous'] == '1'] == ['p3']


def test_references_of_which_an_extract_is_kept_are_no_judges(run, shots, flat, tmp_path, monkeypatch):
    monkeypatch.setattr('denseclip.models.anomaly.references.PatchMemory', lambda capacity: PatchMemory(40))
    code, printed, _ = run(flat, '--normal', str(shots / 'normal'))
    assert code == 0 and 'the 3 good pictures, each scored without itself' in printed
    assert next(iter(rows(tmp_path / 'out'))) == 'p3'
    run(shots, out='own')
    assert set(rows(tmp_path / 'own')) == {'n1', 'n3', 'n5', 's0', 's1'}, 'references are not reported'


def test_one_good_picture_cannot_be_measured(run, shots):
    for index in range(1, 6):
        (shots / f'normal/n{index}.png').unlink()
    code, _, err = run(shots, '--threshold', 'F1')
    assert code == 2 and 'the good picture is compared with' in err and 'add a second' in err


@pytest.mark.parametrize(
    ('options', 'name', 'weights', 'pretrained'),
    [
        (('--method', 'april-gan', '--weights', 'april.pth'), 'april-gan', 'april.pth', None),
        (('--weights', 'clip.pt'), 'anovl', None, 'clip.pt'),
        (('--method', 'anovl', '--weights', 'clip.pt'), 'anovl', None, 'clip.pt'),
    ],
)
def test_weights_are_for_the_method_that_is_asked_for(flat, monkeypatch, capsys, options, name, weights, pretrained):
    asked = []

    def load(name, **given):
        asked.append((name, given['weights'], given['pretrained']))
        raise UserError('enough')

    monkeypatch.setattr('denseclip.apis.loading.load_model', load)
    assert main(['anomaly', str(flat), '--object', 'nut', '--json', *options]) == 2
    assert asked == [(name, weights, pretrained)]
    assert ("taken for CLIP's weights" in capsys.readouterr().err) == (weights is None)


def test_weights_of_the_trunk_are_not_those_of_the_clip_that_names(monkeypatch):
    args = argparse.Namespace(
        defects='hole', runtime=None, trunk='timm:resnet18', clip=None, pretrained='trunk.safetensors', object=None
    )
    args.device, args.trust, asked = 'cpu', False, []
    monkeypatch.setattr('denseclip.apis.loading.load_model', lambda name, **given: asked.append(given['pretrained']))
    monkeypatch.setattr('denseclip.apis.anomaly_names.RegionNamer', lambda *given: given)
    compares = argparse.Namespace(model=argparse.Namespace(even=None))
    load_namer(args, compares)
    args.trunk = 'clip'
    load_namer(args, compares)
    assert asked == [None, 'trunk.safetensors']


def test_verdict_and_areas_agree_and_tell_the_exit_status(run, shots, flat, tmp_path):
    code, _, _ = run(shots, '--fail-on-defect')
    assert code == 3
    for row in rows(tmp_path / 'out').values():
        mask = np.asarray(Image.open(tmp_path / 'out/masks' / f'{row["name"]}.png'))
        assert (row['anomalous'] == '1') == (int(row['regions']) > 0) == bool(mask.any())
    code, _, _ = run(shots, '--threshold', '0.99999', '--fail-on-defect', out='none')
    assert code == 0 and not any(int(row['regions']) for row in rows(tmp_path / 'none').values())
    code, _, _ = run(shots, '--threshold', '0.01', out='all')
    assert all(int(row['regions']) for row in rows(tmp_path / 'all').values())


def test_areas_of_flagged_pictures_get_words(run, shots, tmp_path):
    words = ('--clip', 'local-dir:checkpoints/miniworld_clip', '--object', 'tile', '--defects', 'stain; hole')
    code, printed, err = run(shots, *words, '--json')
    found = [json.loads(line) for line in printed.splitlines()]
    assert (code, err) == (0, '')
    named = {entry['source'][-6:]: [set(area['words']) for area in entry['objects']] for entry in found}
    assert named['s0.png'][0] == {'stain', 'hole'} and named['n0.png'] == []
    row = rows(tmp_path / 'out')['s0']
    assert ('stain' in row['words'] or 'hole' in row['words']) and row['words'] in (
        tmp_path / 'out/report.html'
    ).read_text()


def test_many_pictures_lie_beside_the_page(run, tmp_path, monkeypatch, flat):
    monkeypatch.setattr('denseclip.apis.anomaly_output.EMBEDDED', 3)
    assert run(flat)[0] == 0
    page = (tmp_path / 'out/report.html').read_text()
    assert 'base64' not in page and len(list((tmp_path / 'out/thumbnails').iterdir())) == 14
    code, _, err = run(flat)
    assert code == 2 and 'earlier results' in err


def test_a_learnt_pair_says_what_is_bad_and_goes_with_words_alone(flat, tmp_path, run, capsys):
    pair = LearntPair(128, 2).write(tmp_path / 'pair.safetensors')
    words = ('--clip', 'local-dir:checkpoints/miniworld_clip', '--object', 'tile', '--device', 'cpu')
    scores = []
    for prompts in ('anovl', str(pair)):
        assert main(['anomaly', str(flat), *words, '--json', '--prompts', prompts]) == 0
        scores.append([json.loads(line)['raw_score'] for line in capsys.readouterr().out.splitlines()])
    assert len(scores[0]) == len(scores[1]) == 7 and scores[0] != scores[1]
    LearntPair(64, 2).write(tmp_path / 'other.safetensors')
    assert main(['anomaly', str(flat), *words, '--json', '--prompts', str(tmp_path / 'other.safetensors')]) != 0
    assert 'another CLIP' in capsys.readouterr().err
    code, _, err = run(flat, '--method', 'batch', '--prompts', str(pair))
    assert code != 0 and 'no use for --prompts' in err
