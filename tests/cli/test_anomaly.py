"""``denseclip anomaly``: files, tables, the report, thresholds, and errors before any work is spent."""

import csv
import json
import re
import shutil
from urllib.parse import unquote

import numpy as np
import pytest
from bright_spots import CONFIG
from PIL import Image

from denseclip.cli.main import main


def draw(path, spot, seed=0):
    """A dark picture with a spot of a brightness; 0 for none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.random.default_rng([seed, *path.stem.encode()]).integers(40, 60, (32, 48, 3), dtype=np.uint8)
    if spot:
        image[8:16, 20:30] = spot
    Image.fromarray(image).save(path)


@pytest.fixture
def labelled(tmp_path):
    root = tmp_path / 'shots'
    for index in range(7):
        draw(root / 'normal' / f'n{index}.png', 0)
    for index in range(3):
        draw(root / 'scratch' / f's{index}.png', 170 + 20 * index)
        mask = np.zeros((32, 48), np.uint8)
        mask[8:16, 20:30] = 255
        (root / 'masks' / 'scratch').mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(root / 'masks' / 'scratch' / f's{index}.png')
    return root


@pytest.fixture
def run(tmp_path, capsys):
    config = tmp_path / 'model.json'
    config.write_text(json.dumps(CONFIG))

    def call(folder, *options, out='out'):
        words = ['--object', 'metal <nut>', '--config', str(config), '--device', 'cpu', '--out', str(tmp_path / out)]
        code = main(['anomaly', str(folder), *words, *options])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def rows(path):
    with path.open(encoding='utf-8') as file:
        return list(csv.DictReader(file))


def test_files_and_tables(run, labelled, tmp_path):
    code, printed, err = run(labelled, '--maps')
    assert (code, err) == (0, '') and '10 pictures, 3 anomalous' in printed
    out = tmp_path / 'out'
    assert sorted(p.name for p in out.iterdir()) == [
        'boxes.csv', 'heatmaps', 'maps', 'masks', 'report.html', 'scores.csv', 'summary.json'
    ]  # fmt: skip
    scores = rows(out / 'scores.csv')
    assert [row['name'] for row in scores[:3]] == ['s2', 's1', 's0'] and len(scores) == 10
    assert [row['anomalous'] for row in scores] == ['1'] * 3 + ['0'] * 7
    assert [row['label'] for row in scores] == [row['anomalous'] for row in scores]
    for key in ('score', 'raw_score'):
        values = [float(row[key]) for row in scores]
        assert values == sorted(values, reverse=True) and len(set(values)) >= 8
    assert all(0 < float(row['score']) < 1 for row in scores)
    boxes = rows(out / 'boxes.csv')
    assert {row['file'] for row in boxes} >= {row['file'] for row in scores[:3]}
    assert boxes[0]['file'] == scores[0]['file']
    assert max(float(row['score']) for row in boxes) == float(boxes[0]['score'])
    assert abs(int(boxes[0]['x']) - 20) <= 3 and abs(int(boxes[0]['y']) - 8) <= 3
    mask = np.asarray(Image.open(out / 'masks' / 's2.png'))
    assert mask.shape == (32, 48) and set(np.unique(mask)) == {0, 255} and mask[10:14, 22:28].all()
    raw = np.asarray(Image.open(out / 'maps' / 's2.tiff'))
    assert raw.dtype == np.float32 and raw.max() == pytest.approx(float(scores[0]['raw_score']))
    summary = json.loads((out / 'summary.json').read_text())
    assert summary['measures']['image_AUROC'] == 1.0 and summary['measures']['pixel_AUROC'] > 0.95


def test_the_report_needs_nothing_else_and_is_sorted(run, labelled, tmp_path):
    run(labelled)
    page = (tmp_path / 'out' / 'report.html').read_text(encoding='utf-8')
    sources = re.findall(r'src="([^"]*)"', page)
    assert len(sources) == 20 and all(s.startswith('data:image/jpeg;base64,') for s in sources)
    links = re.findall(r'href="([^"]*)"', page)  # for who wants the files; the page shows all without them
    assert len(links) == 30 and all((tmp_path / 'out' / unquote(link)).is_file() for link in links)
    assert 'http' not in re.sub(r'http-equiv|base64,[^"]*', '', page) and 'url(' not in page
    scores = [float(s) for s in re.findall(r'<b>(0\.\d{3})</b></div><div class="bar">', page)]
    assert len(scores) == 10 and scores == sorted(scores, reverse=True)
    assert 'metal &lt;nut&gt;' in page and '<nut>' not in page
    assert page.count('class="label wrong"') == 0 and page.count('>scratch</span>') == 3


def test_nothing_is_overwritten_unasked(run, labelled, tmp_path):
    run(labelled)
    before = (tmp_path / 'out' / 'scores.csv').read_bytes()
    (tmp_path / 'out' / 'scores.csv').write_bytes(b'mine')
    code, _, err = run(labelled)
    assert code == 2 and 'holds earlier results' in err and '--force' in err
    assert (tmp_path / 'out' / 'scores.csv').read_bytes() == b'mine'
    assert run(labelled, '--force')[0] == 0
    assert (tmp_path / 'out' / 'scores.csv').read_bytes() == before
    code, _, err = run(labelled, out='out/masks/n0.png')
    assert code == 2 and 'it is a file' in err


def test_thresholds(run, labelled, tmp_path):
    assert run(labelled, '--threshold', 'F1')[0] == 0
    summary = json.loads((tmp_path / 'out' / 'summary.json').read_text())
    scores = rows(tmp_path / 'out' / 'scores.csv')
    assert summary['thresholds']['picture'] == pytest.approx(float(scores[2]['score']), abs=1e-6)
    assert [row['anomalous'] for row in scores] == ['1'] * 3 + ['0'] * 7 and 'flatters' in summary['thresholds']['how']
    limit = (float(scores[0]['score']) + float(scores[1]['score'])) / 2
    assert run(labelled, '--threshold', str(limit), '--force')[0] == 0
    assert [row['anomalous'] for row in rows(tmp_path / 'out' / 'scores.csv')] == ['1'] + ['0'] * 9
    for bad in ('2', '0', 'nan', 'high'):
        code, _, err = run(labelled, '--threshold', bad, out='new')
        assert code == 2 and 'between 0 and 1' in err and not (tmp_path / 'new').exists()


def test_pictures_without_labels(run, labelled, tmp_path):
    flat = tmp_path / 'flat'
    for path in [*labelled.glob('normal/*.png'), *labelled.glob('scratch/*.png')]:
        flat.mkdir(exist_ok=True)
        (flat / path.name).write_bytes(path.read_bytes())
    code, printed, _ = run(flat)
    assert code == 0 and 'AUROC' not in printed
    scores = rows(tmp_path / 'out' / 'scores.csv')
    assert [row['name'] for row in scores[:3]] == ['s2', 's1', 's0'] and {row['label'] for row in scores} == {''}
    code, _, err = run(flat, '--threshold', 'F1', out='new')
    assert code == 2 and 'needs labels' in err


def test_good_pictures_elsewhere_tell_the_threshold_of_a_model_with_words(run, tmp_path):
    for index in range(6):
        draw(tmp_path / 'good' / f'n{index}.png', 0)
        draw(tmp_path / 'flat' / f's{index}.png', 180 + 10 * index)
    assert '6 anomalous' in run(tmp_path / 'flat', '--normal', str(tmp_path / 'good'))[1]
    assert '6 anomalous' not in run(tmp_path / 'flat', out='alone')[1], 'they look usual among themselves'


def test_scores_depend_on_the_set_of_pictures_only(run, labelled, tmp_path):
    run(labelled)
    renamed = tmp_path / 'renamed'
    for index, path in enumerate(sorted(labelled.rglob('*.png'), reverse=True)):
        if 'masks' not in path.parts:
            target = renamed / path.parent.name / f'{index:02d}.png'
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    run(renamed, out='again')
    first, second = ([row['score'] for row in rows(tmp_path / out / 'scores.csv')] for out in ('out', 'again'))
    assert first == second


def test_an_unreadable_picture_does_not_stop_the_others(run, labelled, tmp_path):
    (labelled / 'normal' / 'broken.png').write_bytes(b'')
    code, printed, err = run(labelled)
    assert code == 2 and '1 of 11 pictures failed' in err and 'broken.png' in err and '10 pictures' in printed
    assert 'Not readable: 1' in (tmp_path / 'out' / 'report.html').read_text(encoding='utf-8')
    for path in [*labelled.rglob('n*.png'), *labelled.glob('scratch/*.png')]:
        path.unlink()
    code, _, err = run(labelled, out='new')
    assert code == 2 and 'the file is empty' in err


@pytest.mark.parametrize('folder', ['nothing', 'empty', 'model.json'])
def test_wrong_folders_are_named(run, tmp_path, folder):
    (tmp_path / 'empty').mkdir()
    code, _, err = run(tmp_path / folder)
    assert code == 2 and folder in err and len(err.strip().splitlines()) == 1


def test_a_mask_of_another_size_is_named(run, labelled):
    Image.new('L', (5, 5), 255).save(labelled / 'masks' / 'scratch' / 's1.png')
    code, _, err = run(labelled)
    assert code == 2 and 's1.png' in err and '5 x 5' in err


def test_one_picture(run, tmp_path):
    draw(tmp_path / 'one' / 'a.png', 255)
    code, printed, _ = run(tmp_path / 'one')
    assert code == 0 and '1 pictures' in printed and len(rows(tmp_path / 'out' / 'scores.csv')) == 1


def test_masks_of_another_ending_and_of_no_picture(run, labelled, tmp_path):
    masks = labelled / 'masks' / 'scratch'
    for path in sorted(masks.iterdir()):
        path.rename(path.with_name(f'{path.stem}_GT.png'))
    (masks / 's1_GT.png').rename(masks / 's11-label.png')
    code, printed, _ = run(labelled)
    assert code == 0 and 'pixels are not measured: 1 anomalous pictures have no mask' in printed
    [line] = [line for line in printed.splitlines() if 'belongs to no picture' in line]
    assert line == f'note: {masks}/s11-label.png: belongs to no picture; the nearest name is {labelled}/scratch/s1.png'
    summary = json.loads((tmp_path / 'out' / 'summary.json').read_text())
    assert len(summary['notes']) == 2 and summary['measures']['pixel_AUROC'] is None
    assert 's11-label.png: belongs to no picture' in (tmp_path / 'out' / 'report.html').read_text()


def test_pictures_of_one_kind_with_masks(run, labelled, tmp_path):
    for path in labelled.glob('normal/*'):
        path.unlink()
    (labelled / 'normal').rmdir()
    code, printed, _ = run(labelled)
    assert code == 0 and 'note: pictures are not measured: none of them is normal' in printed
    measures = json.loads((tmp_path / 'out' / 'summary.json').read_text())['measures']
    assert [key for key, value in measures.items() if value is None] == ['image_AUROC', 'image_AP', 'image_F1max']
    assert measures['pixel_AUROC'] > 0.95 and measures['AUPRO'] > 0.5
    assert {row['label'] for row in rows(tmp_path / 'out' / 'scores.csv')} == {'1'}
    (labelled / 'masks/scratch/s0.png').unlink()  # nobody says what that picture is
    code, printed, _ = run(labelled, '--force')
    assert code == 0 and 'pictures are not measured: 1 of 3 have neither label nor mask' in printed
    measures = json.loads((tmp_path / 'out' / 'summary.json').read_text())['measures']
    assert measures['image_AP'] is None and measures['pixel_AUROC'] > 0.95


@pytest.mark.parametrize('place', ['masks', 'beside'])
def test_pictures_in_one_folder_with_masks(run, labelled, tmp_path, place):
    flat = tmp_path / 'flat'
    flat.mkdir()
    for path in [*labelled.glob('normal/*.png'), *labelled.glob('scratch/*.png')]:
        (flat / path.name).write_bytes(path.read_bytes())
        known = labelled / 'masks/scratch' / path.name
        mask = flat / 'masks' / path.name if place == 'masks' else flat / f'{path.stem}_GT.png'
        mask.parent.mkdir(exist_ok=True)
        Image.new('L', (48, 32)).save(mask)
        if known.exists():
            mask.write_bytes(known.read_bytes())
    code, printed, _ = run(flat)
    notes = ['note: 10 files beside pictures are read as masks, not inspected: n0_GT.png, n1_GT.png, n2_GT.png, ...']
    assert code == 0 and '10 pictures' in printed
    assert [x for x in printed.splitlines() if 'note' in x] == (notes if place == 'beside' else [])
    found = {row['name']: row['label'] for row in rows(tmp_path / 'out' / 'scores.csv')}
    assert found == {**{f'n{i}': '0' for i in range(7)}, **{f's{i}': '1' for i in range(3)}}
    measures = json.loads((tmp_path / 'out' / 'summary.json').read_text())['measures']
    assert measures['image_AUROC'] == 1 and measures['pixel_AUROC'] > 0.95


def test_photographs_are_inspected_whatever_they_are_called(run, tmp_path):
    for index in range(5):  # parts on white
        for name in (
            f'part{index}.png',
            f'part{index}_defect.png',
            f'part{index}_seg.png',
            f'p{index}.jpg',
            f'p{index}.png',
        ):
            draw(tmp_path / 'shots' / name, 255)
    code, printed, _ = run(tmp_path / 'shots')
    assert code == 0 and '25 pictures' in printed and 'note' not in printed


def test_pictures_beside_folders_are_read_with_them(run, labelled, tmp_path):
    draw(labelled / 'overview.png', 0)
    code, printed, _ = run(labelled)
    assert code == 0 and '11 pictures' in printed and '1 of 11 have neither label nor mask' in printed
    for path in labelled.glob('scratch/*.png'):
        path.rename(labelled / path.name)
    (labelled / 'scratch').rmdir()
    assert run(labelled, '--force')[0] == 0
    labels = {row['name']: row['label'] for row in rows(tmp_path / 'out/scores.csv')}
    assert labels == {**{f'n{i}': '0' for i in range(7)}, **{f's{i}': '' for i in range(3)}, 'overview': ''}


@pytest.mark.parametrize('out', ['shots', 'shots/found', '.'])
def test_results_do_not_go_among_the_pictures(run, labelled, out):
    code, _, err = run(labelled, out=out)
    assert code == 2 and '--out' in err and 'choose' in err and not list(labelled.rglob('report.html'))


def test_findings_are_never_taken_for_truth(run, labelled, tmp_path):
    assert run(labelled)[0] == 0
    shutil.copytree(tmp_path / 'out', labelled / 'before')  # as earlier versions allowed
    code, printed, _ = run(labelled, '--force')
    assert code == 0 and '10 pictures' in printed
    shutil.copytree(tmp_path / 'out', labelled, dirs_exist_ok=True)
    code, _, err = run(labelled, out='new')
    assert code == 2 and 'holds the results of an inspection' in err and not (tmp_path / 'new').exists()


def test_names_that_are_no_text_are_written_with_escapes(run, labelled, tmp_path):
    odd = labelled / 'scratch' / 'caf\udce9 \n<b>,".png'
    (labelled / 'scratch' / 's2.png').rename(odd)
    (labelled / 'masks/scratch/s2.png').rename(labelled / 'masks/scratch' / odd.name)
    (labelled / 'scratch' / 'torn\udcff.png').write_bytes(b'')
    (labelled / 'masks/scratch/lost\udcfe.png').write_bytes(b'')
    code, printed, err = run(labelled, '--maps')
    assert code == 2 and 'torn\\xff.png' in err and 'caf\\xe9' in printed and 'lost\\xfe.png' in printed
    out = tmp_path / 'out'
    first = rows(out / 'scores.csv')[0]
    assert first['file'] == f'{labelled}/scratch/caf\\xe9 \n<b>,".png' and first['label'] == '1'
    assert first['file'] in {row['file'] for row in rows(out / 'boxes.csv')}
    assert (out / 'heatmaps' / f'{first["name"]}.jpg').is_file() and (out / 'maps' / f'{first["name"]}.tiff').is_file()
    page = (out / 'report.html').read_text(encoding='utf-8')
    assert 'caf\\xe9 \n&lt;b&gt;' in page and '<b>,' not in page and 'torn\\xff.png' in page
    assert 'torn\\xff.png' in ''.join(json.loads((out / 'summary.json').read_text(encoding='utf-8'))['unreadable'])


def test_names_that_steer_a_terminal_are_shown_there_and_on_the_page(run, labelled, tmp_path):
    odd = labelled / 'scratch' / 'a\x1b[2J\u202eb.png'
    (labelled / 'scratch' / 's2.png').rename(odd)
    (labelled / 'masks/scratch/s2.png').rename(labelled / 'masks/scratch' / odd.name)
    code, printed, err = run(labelled)
    assert code == 0 and 'a\\x1b[2J\\u202eb.png' in printed and '\x1b' not in printed + err
    page = (tmp_path / 'out/report.html').read_text(encoding='utf-8')
    assert 'a\\x1b[2J\\u202eb' in page and '\x1b' not in page and '\u202e' not in page
    assert str(odd) in {row['file'] for row in rows(tmp_path / 'out/scores.csv')}


def test_json_and_further_files_of_every_picture(run, labelled, tmp_path):
    (labelled / 'normal' / 'broken.png').write_bytes(b'')
    code, out, err = run(labelled, '--json', '--formats', 'coco,labelme,map')
    assert code == 2 and '1 of 11 pictures failed' in err
    *found, failed = [json.loads(line) for line in out.splitlines()]
    assert failed['source'].endswith('broken.png') and 'empty' in failed['error']
    made = {str(file) for file in (tmp_path / 'out').rglob('*') if file.is_file() and file.parent != tmp_path / 'out'}
    assert sorted(file for entry in found for file in entry['files']) == sorted(made)
    assert (tmp_path / 'out' / 'maps' / 's2.tiff').is_file()
    scores = rows(tmp_path / 'out' / 'scores.csv')
    assert [entry['source'] for entry in found] == [row['file'] for row in scores]
    assert [entry['anomalous'] for entry in found] == [row['anomalous'] == '1' for row in scores]
    assert all(abs(entry['score'] - float(row['score'])) < 1e-6 for entry, row in zip(found, scores, strict=True))
    assert [len(entry['objects']) for entry in found] == [int(row['regions']) for row in scores]
    coco = json.loads((tmp_path / 'out' / 'coco' / 's2_coco.json').read_text())
    assert coco['categories'][0]['name'] == 'anomaly' and len(coco['annotations']) == len(found[0]['objects'])
    said = json.loads((tmp_path / 'out' / 'labelme' / 's2_labelme.json').read_text())['imagePath']
    assert (tmp_path / 'out' / 'labelme' / said).resolve() == labelled / 'scratch' / 's2.png'
    code, _, err = run(labelled, '--formats', 'coco', '--maps')
    assert code == 2 and 'earlier results' in err


def test_formats_that_every_inspection_writes_are_written_once(run, labelled, tmp_path):
    assert run(labelled, '--formats', 'usual,overlay,mask,map')[0] == 0
    folders = {path.name for path in (tmp_path / 'out').iterdir() if path.is_dir()}
    assert folders == {'heatmaps', 'masks', 'maps'}
