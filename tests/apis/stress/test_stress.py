"""Miniworld's CLIP under stress: what is written, going on, and bad input."""

import json
from dataclasses import replace

import numpy as np
import pytest

from denseclip.apis.errors import UserError
from denseclip.apis.stress import StressOptions, load_subject, stress
from denseclip.apis.stress.grounds import objects_and_grounds, pasted, swaps_of
from denseclip.apis.stress.looking import Tally, tally
from denseclip.apis.stress.pictures import VOID
from denseclip.apis.stress.unknown import folds_of
from denseclip.datasets.miniworld import write_miniworld
from denseclip.datasets.miniworld.colour_pairs import MEANINGS
from denseclip.datasets.miniworld.kinds import CLASSES, NUM_THINGS

CONFIG = 'configs/miniworld/maskclip_vit-xs8_zs_miniworld-128x128.py'
STUFF = ['tree', *CLASSES[NUM_THINGS:]]  # trees are stuff where nothing else is said
FEW = StressOptions(corruptions=['contrast', 'brightness'], severities=[5], hold_out=['grass', 'sky', 'night'])


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """Eight drawn pictures of 64 x 64."""
    folder = tmp_path_factory.mktemp('data') / 'drawn'
    write_miniworld('ade20k', folder, count=1, val_count=8, size=(64, 64))
    return folder


@pytest.fixture(scope='module')
def subject(root):
    """The bundled CLIP on six of them."""
    return load_subject(CONFIG, limit=6, overrides={'test_dataloader.dataset.data_root': str(root)}, device='cpu')


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
