"""Miniworld's CLIP under stress: what is written, going on, and bad input."""

import json
import re
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from denseclip.apis.errors import UserError
from denseclip.apis.stress import StressOptions, load_subject, stress
from denseclip.apis.stress.grounds import objects_and_grounds, pasted, swaps_of
from denseclip.apis.stress.looking import Tally, tally
from denseclip.apis.stress.pictures import VOID
from denseclip.apis.stress.run import _corruption_cells, _measured, _unknown_cells
from denseclip.apis.stress.unknown import folds_of
from denseclip.datasets.miniworld.colour_pairs import MEANINGS
from denseclip.datasets.miniworld.kinds import CLASSES, NUM_THINGS

CONFIG = 'configs/miniworld/maskclip_vit-xs8_zs_miniworld-128x128.py'
STUFF = ['tree', *CLASSES[NUM_THINGS:]]  # trees are stuff where nothing else is said
FEW = StressOptions(corruptions=['contrast', 'brightness'], severities=[5], hold_out=['grass', 'sky', 'night'])


@pytest.fixture(scope='module')
def done(subject, tmp_path_factory):
    """What a run gives, and its folder."""
    folder = tmp_path_factory.mktemp('out')
    return stress(subject, folder, FEW), folder


def test_pictures_are_those_of_the_config(subject):
    assert len(subject.pictures) == 6
    assert len({one.path for one in subject.pictures}) == 6
    one = subject.pictures[3]
    assert one.rgb.shape == (64, 64, 3)
    assert one.labels.shape == (64, 64)
    assert set(np.unique(one.labels)) <= {VOID, *range(32)}
    assert np.array_equal(subject.pictures.labels(3), one.labels)


def test_numbers_are_what_single_calls_give(done, subject):
    content, _ = done
    found, right, pixels = Tally(subject.pictures.names), 0, 0
    for one in subject.pictures:
        result = subject.model.segment(one.rgb, channel_order='rgb', pixel_scores=True)
        found.add(result, one.labels)
        known = one.labels != VOID
        right, pixels = right + (result.label_map == one.labels)[known].sum(), pixels + known.sum()
    clean = content['cells']['clean']
    assert clean['mIoU'] == pytest.approx(found.to_dict()['mIoU'], abs=0.05)
    assert clean['aAcc'] == pytest.approx(100 * right / pixels, abs=0.05)
    assert content['summary']['ECE'] == pytest.approx(found.reliability.error(), abs=1e-3)


def test_a_perfect_model_has_full_marks(subject):
    class Perfect:
        def segment(self, pictures, words, pixel_scores):
            return [self.of(picture) for picture in pictures]

        def of(self, picture):
            truth = next(o.labels for o in subject.pictures if np.array_equal(o.rgb, picture.rgb))
            result = subject.model.segment(picture, pixel_scores=True)
            sure = np.ones((1, *truth.shape), np.float32)
            return replace(result, label_map=np.maximum(truth, 0).astype(np.uint8), pixel_scores=sure)

    found = tally(Perfect(), subject.pictures, subject.pictures.names).to_dict()
    assert (found['mIoU'], found['aAcc'], found['ECE']) == (100, 100, 0)


def test_files_say_the_same(done):
    content, folder = done
    assert json.loads((folder / 'stress.json').read_text()) == json.loads(json.dumps(content))
    text = (folder / 'stress.md').read_text()
    for name in ('brightness', 'contrast'):
        assert f'| {name} | {content["cells"][f"corruptions/{name}/5"]["mIoU"]:.1f} |' in text
    lost = content['summary']
    assert lost['relative_drop'] == pytest.approx(100 * (1 - lost['mIoU_corrupted'] / lost['mIoU']))
    for plot in ('corruptions.png', 'reliability.png'):
        assert (folder / plot).read_bytes().startswith(b'\x89PNG')


def test_classes_that_are_left_out_are_given_back(done, subject):
    (cell,) = (cell for key, cell in done[0]['cells'].items() if key.startswith('unknown/'))
    assert cell['classes'] == ['grass', 'sky', 'night']
    assert all(0 <= value <= 100 for value in cell['AUROC'].values())
    assert subject.model.vocabulary.names == subject.pictures.names


def test_goes_on_where_it_was_stopped(done, subject, monkeypatch):
    content, folder = done
    monkeypatch.setattr(subject.model, 'segment', None)
    again = stress(subject, folder, FEW)
    assert again == content


def test_the_same_seed_gives_the_same_numbers(done, subject, tmp_path):
    options = replace(FEW, corruptions=['contrast'], parts=['corruptions'])
    cells = stress(subject, tmp_path, options)['cells']
    assert cells == {key: done[0]['cells'][key] for key in cells}


def test_results_of_something_else_are_kept(done, subject):
    with pytest.raises(UserError, match='another seed: choose another folder'):
        stress(subject, done[1], replace(FEW, seed=1))


def test_every_class_is_left_out_once():
    folds = folds_of([f'c{k}' for k in range(10)], None, 3)
    assert sorted(k for fold in folds for k in fold) == list(range(10))
    assert folds == folds_of([f'c{k}' for k in range(10)], None, 3)
    assert folds_of(['a', 'b', 'c'], ['B'], 0) == [(1,)]


def test_objects_stand_on_both_grounds(done, subject):
    cell = done[0]['cells']['grounds']
    assert cell['classes']
    for name, row in cell['classes'].items():
        assert name not in STUFF
        grounds = {row[kind]['ground'] for kind in ('usual', 'foreign')}
        assert len(grounds) == 2
        assert grounds <= set(STUFF)
        assert all(0 <= row[kind]['IoU'] <= row[kind]['right'] <= 100 for kind in ('usual', 'foreign'))
    assert cell['difference'] == pytest.approx(cell['usual'] - cell['foreign'])
    apart = [row['usual']['IoU'] - row['foreign']['IoU'] for row in cell['classes'].values()]
    assert cell['standard_error'] == pytest.approx(np.std(apart, ddof=1) / len(apart) ** 0.5)


def test_swapped_grounds_have_the_same_object_on_another_ground(subject):
    objects, grounds = objects_and_grounds(subject.pictures.names, None)
    assert [subject.pictures.names[k] for k in grounds] == STUFF
    found = 0
    for swap in swaps_of(subject.pictures, objects, grounds, 0):
        for kind in range(2):
            one = pasted(subject.pictures, swap, kind, 0)
            if one is not None:
                found += 1
                assert np.array_equal(one.rgb[one.mask], swap.thing.pixels[swap.thing.mask])
                rows, columns = one.mask.any(1), one.mask.any(0)
                assert ((one.labels == swap.grounds[kind]) | one.mask)[rows][:, columns].mean() >= 0.6
    assert found > 2


def test_pixels_of_two_things_get_one_of_four_phrases(done):
    cell = done[0]['cells']['binding']
    assert sum(cell[name] for name in MEANINGS) == pytest.approx(100)
    assert 0 <= cell['binding'] <= 100


def test_what_the_pictures_do_not_allow_is_said_where_it_was_not_asked_for(subject, tmp_path, monkeypatch):
    monkeypatch.setattr('denseclip.apis.stress.grounds.swaps_of', lambda *args: [])
    with pytest.raises(UserError, match='no object of these pictures'):
        stress(subject, tmp_path, replace(FEW, parts=['grounds']))
    content = stress(subject, tmp_path, replace(FEW, corruptions=[], hold_out=['grass']))
    assert 'no object of these pictures' in content['cells']['grounds']['not measured']
    assert 'Not measured: grounds (no object' in (tmp_path / 'stress.md').read_text()


def test_what_was_not_measured_is_tried_again_where_it_is_asked_for(done, subject, tmp_path, monkeypatch):
    kept = {'clean': done[0]['cells']['clean'], 'grounds': {'not measured': 'for once'}}
    beside = {**done[0], 'cells': kept}
    (tmp_path / 'stress.json').write_text(json.dumps(beside))
    with monkeypatch.context() as patch:
        patch.setattr('denseclip.apis.stress.grounds.swaps_of', lambda *args: [])
        with pytest.raises(UserError, match='no object of these pictures'):
            stress(subject, tmp_path, replace(FEW, parts=['grounds']))
    assert stress(subject, tmp_path, replace(FEW, parts=['grounds']))['cells']['grounds']['classes']


def test_the_summary_is_of_the_tests_of_the_call(done, subject, tmp_path, monkeypatch):
    (known,) = (cell for key, cell in done[0]['cells'].items() if key.startswith('unknown/'))
    other = {'classes': [], 'AUROC': {'max': 1.0, 'entropy': 2.0}}
    more = {'unknown/fold 0': other, 'grounds/tree': {**done[0]['cells']['grounds'], 'usual': -1.0}}
    (tmp_path / 'stress.json').write_text(json.dumps({**done[0], 'cells': {**done[0]['cells'], **more}}))
    monkeypatch.setattr(subject.model, 'segment', None)
    content = stress(subject, tmp_path, FEW)
    assert content['summary'] == done[0]['summary']
    assert content['summary']['unknown_AUROC_max'] == known['AUROC']['max']
    assert content['cells'].items() >= more.items()


def test_a_class_called_0_is_no_fold(subject):
    keys = [{key for key, _ in _unknown_cells(subject, StressOptions(hold_out=held))} for held in (None, ['sky'])]
    renamed = replace(subject, pictures=SimpleNamespace(names=('fold 0', '0', 'sky')))
    keys += [{key for key, _ in _unknown_cells(renamed, StressOptions(hold_out=[name]))} for name in ('0', 'fold 0')]
    assert len(set.union(*keys)) == sum(map(len, keys)) == 7


@pytest.mark.parametrize('names', [('crack',), ('crack', 'wall')])
def test_one_of_two_classes_is_not_left_out(subject, names):
    few = replace(subject, pictures=SimpleNamespace(names=names))
    with pytest.raises(UserError, match='two must be left'):
        dict(_unknown_cells(few, StressOptions(parts=['unknown'])))
    ((key, cell),) = _unknown_cells(few, StressOptions())
    assert 'two must be left' in _measured(cell, None, asked=False)['not measured']
    assert key == 'unknown'


def test_a_picture_too_small_for_corruptions_is_named_before_anything_runs(root, tmp_path, monkeypatch):
    data = tmp_path / 'data'
    shutil.copytree(root, data)
    subject = load_subject(CONFIG, limit=2, overrides={'test_dataloader.dataset.data_root': str(data)}, device='cpu')
    last = list(subject.pictures.files())[-2]
    Image.new('RGB', (64, 31)).save(last)
    calls = []
    monkeypatch.setattr(subject.model, 'segment', lambda *args, **kwargs: calls.append(args))
    options = StressOptions(parts=['corruptions'], severities=[1])
    with pytest.raises(UserError, match=f"'{re.escape(last)}' is 64 x 31, corruptions need 32 pixels"):
        stress(subject, tmp_path / 'out', options)
    cells = dict(_corruption_cells(subject, replace(options, parts=None)))
    assert {_measured(cell, None, asked=False)['not measured'] for cell in cells.values()} == {
        f"'{last}' is 64 x 31, corruptions need 32 pixels a side: leave it out."
    }
    assert len(cells) == 15
    assert not calls


@pytest.mark.parametrize(
    ('call', 'said'),
    [
        (lambda root: StressOptions(corruptions=['rain']), 'no corruption is called rain; there are gaussian_noise'),
        (lambda root: StressOptions(severities=[0]), 'no severity is called 0'),
        (lambda root: StressOptions(parts=['luck']), 'no test is called luck'),
        (lambda root: folds_of(['a', 'b', 'c'], ['d'], 0), 'no class is called d'),
        (lambda root: folds_of(['a', 'b', 'c'], ['a', 'b'], 0), 'fewer than two classes'),
        (lambda root: objects_and_grounds(['a', 'b', 'sky'], 'c'), 'things c: no class'),
        (lambda root: objects_and_grounds(['a', 'b', 'sky'], None), 'at least two classes that are no objects'),
        (lambda root: load_subject('naclip'), 'a method without pictures'),
        (lambda root: load_subject('naclip', preset='sclip'), 'leave --preset and --cfg-options out'),
        (lambda root: load_subject(CONFIG, preset='nclip'), "did you mean 'naclip'"),
        (lambda root: load_subject(CONFIG, overrides={'test_dataloader.dataset.data_root': 'no'}), "'no.*' does not"),
        (lambda root: load_subject('anovl', data='configs/anovl/anovl_vit-xs8_miniworld-64x64.py'), 'no test pictures'),
    ],
)
def test_says_what_is_wrong(root, call, said):
    with pytest.raises(ValueError, match=said):
        call(root)
