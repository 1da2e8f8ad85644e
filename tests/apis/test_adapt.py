"""From a folder of labelled pictures to a head, and from a head to labels."""

import numpy as np
import pytest
from PIL import Image
from tiny_models import tiny_denseclip

from denseclip.apis.adapt import adapt, labelled_maps
from denseclip.apis.errors import UserError
from denseclip.apis.inferencer import Inferencer
from denseclip.cli.main import main
from denseclip.clip.vocabulary import Vocabulary
from denseclip.datasets.files import UnreadableFileError
from denseclip.weights.errors import WeightFileError

COLOURS = np.array([[200, 60, 40], [40, 80, 210]], np.uint8)


def draw(folder, stems, seed=0, void=False):
    """Pictures whose left and right parts have a colour each, and their label maps."""
    rng = np.random.default_rng(seed)
    for part in ('images', 'masks'):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for stem in stems:
        labels = np.zeros((64, 96), np.uint8)
        labels[:, rng.integers(40, 56) :] = 1
        labels = labels[:, ::-1] if rng.random() < 0.5 else labels
        noise = rng.integers(-20, 20, (64, 96, 3))
        Image.fromarray((COLOURS[labels] + noise).clip(0, 255).astype(np.uint8)).save(folder / f'images/{stem}.png')
        labels = labels.copy()
        labels[:4] = 255 if void else labels[:4]
        Image.fromarray(labels).save(folder / f'masks/{stem}.png')
    return folder


@pytest.fixture
def folder(tmp_path):
    return draw(tmp_path / 'data', 'abc', void=True)


@pytest.fixture
def fresh(model_files):
    """A model that nobody else uses: heads stay on it."""
    return Inferencer(*model_files, device='cpu')


def accuracy(result, path):
    labels = np.array(Image.open(path))
    known = labels != 255
    return (result.label_map[known] == labels[known]).mean()


@pytest.mark.parametrize('method', ['gda', 'rns'])
def test_three_pictures_teach_words_that_say_nothing(method, folder, fresh, tmp_path):
    test = draw(tmp_path / 'test', 'xy', seed=9)
    before = np.mean([accuracy(fresh.segment(test / f'images/{s}.png', 'p; q'), test / f'masks/{s}.png') for s in 'xy'])
    made = adapt(folder, tmp_path / 'head.safetensors', model=fresh, classes='p; q', method=method)
    assert made.cells.keys() == {'p', 'q'} and min(made.cells.values()) > 0 and made.pictures == 3
    assert (made.choice.alpha is None) is (method == 'rns') and made.choice.miou > made.choice.text_miou
    assert fresh.model.pixel_head is None
    fresh.use_head(made.path)
    results = {stem: fresh.segment(test / f'images/{stem}.png') for stem in 'xy'}
    after = np.mean([accuracy(result, test / f'masks/{stem}.png') for stem, result in results.items()])
    assert after > 0.85 > before
    swapped = fresh.segment(test / 'images/x.png', 'q; p')
    assert (swapped.mask('p') == results['x'].mask('p')).mean() > 0.99  # labels follow names


def test_one_picture_is_enough_and_count_draws_it(folder, fresh):
    made = adapt(folder, model=fresh, classes='p; q', count=1, seed=3)
    assert made.pictures == 1 and made.path is None and made.choice.alpha > 0
    with pytest.raises(UserError, match='--count is 9, but there are 3'):
        adapt(folder, model=fresh, classes='p; q', count=9)


def test_nothing_is_left_beside_the_folder_when_label_maps_are_colours(fresh, tmp_path):
    folder = draw(tmp_path / 'in' / 'data', 'ab')
    for path in (folder / 'masks').iterdir():
        Image.fromarray(np.array([[255, 0, 0], [0, 255, 0]], np.uint8)[np.array(Image.open(path))]).save(path)
    (folder / 'labelmap.txt').write_text('# label:color_rgb:parts:actions\np:255,0,0::\nq:0,255,0::\n')
    made = adapt(folder, model=fresh)
    assert made.choice.alpha > 0
    assert [path.name for path in (tmp_path / 'in').iterdir()] == ['data']


def test_unknown_pixels_get_no_class(folder, fresh, tmp_path):
    made = adapt(folder, model=fresh, classes='p; q')
    fresh.use_head(made.head, unknown=0.99)
    picture = np.array(Image.open(folder / 'images/a.png'))
    picture[16:48, 32:64] = np.random.default_rng(0).integers(0, 2, (32, 32, 1)) * 255  # nothing like it was labelled
    result = fresh.segment(picture)
    assert result.strangeness.shape == picture.shape[:2]
    strange = np.zeros(picture.shape[:2], bool)
    strange[16:48, 32:64] = True
    assert result.strangeness[strange].mean() > result.strangeness[~strange].mean() + 0.1
    assert (result.label_map == 2).sum() == (result.strangeness > 0.99).sum()
    words = Vocabulary.parse('p; q', background='gda', threshold=0.99)  # the same as a background of the words
    fresh.use_head(made.head)
    policy = fresh.segment(picture, words)
    assert policy.names == ('p', 'q', 'background') and np.array_equal(policy.label_map, result.label_map)
    assert np.array_equal(policy.strangeness, result.strangeness)
    fresh.use_head(None)
    assert fresh.segment(picture).strangeness is None
    with pytest.raises(UserError, match="make one with 'denseclip adapt'"):
        fresh.segment(picture, words)


def test_a_head_of_another_model_or_of_other_words_is_refused(folder, fresh, tmp_path):
    made = adapt(folder, tmp_path / 'head.safetensors', model=fresh, classes='p; q')
    other = Inferencer.from_model(tiny_denseclip('any', open_vocabulary=True), list(fresh.steps))
    with pytest.raises(UserError, match="'.*head.safetensors' was made with other weights") as caught:
        other.use_head(made.path)
    assert '\n' not in str(caught.value)
    with pytest.raises(UserError, match='knows p, q; none of these is among the classes cat'):
        fresh.set_vocabulary('cat; dog')
        fresh.use_head(made.path)
    closed = Inferencer.from_model(tiny_denseclip(), list(fresh.steps))
    with pytest.raises(UserError, match='DenseCLIP has no embeddings of pixels'):
        closed.use_head(made.path)
    (tmp_path / 'other.safetensors').write_bytes(b'x')
    with pytest.raises(WeightFileError, match='other.safetensors'):
        fresh.use_head(tmp_path / 'other.safetensors')


def test_a_method_that_is_not_there_and_a_head_that_knows_no_strangeness(folder, fresh, tmp_path):
    with pytest.raises(UserError, match=r"there is no method 'svm' \(--method\): take gda or rns"):
        adapt(folder, model=fresh, classes='p; q', method='svm')
    made = adapt(folder, tmp_path / 'head.safetensors', model=fresh, classes='p; q', method='rns', count=1)
    assert made.pictures == 1 and len(made.head.regions) == 2
    for head in (made.head, made.path):
        with pytest.raises(UserError, match='--method gda'):
            fresh.use_head(head, unknown=0.9)
    fresh.use_head(made.head)
    with pytest.raises(UserError, match='--method gda'):
        fresh.segment(folder / 'images/a.png', Vocabulary.parse('p; q', background='gda'))


def test_the_commands(folder, model_files, tmp_path, capsys):
    config, weights = map(str, model_files)
    head, out = tmp_path / 'head.safetensors', tmp_path / 'out'
    model = ['--config', config, '--weights', weights, '--device', 'cpu']
    assert main(['adapt', str(folder), '--out', str(head), '--classes', 'p; q', *model]) == 0
    said = capsys.readouterr().out
    assert '3 pictures in' in said and 'with the head' in said and f'--head {head}' in said
    assert main(['adapt', str(folder), '--out', str(head), '--classes', 'p; q', *model]) == 2
    assert 'exists' in capsys.readouterr().err
    picture = str(folder / 'images/a.png')
    segment = ['segment', picture, '--head', str(head), '--unknown', '0.9', '--out', str(out), *model]
    assert main([*segment, '--formats', 'usual']) == 0
    areas = (out / 'a_areas.csv').read_text()
    assert ',p,' in areas and ',q,' in areas and ',nothing,' in areas  # one in ten of the labelled pixels is stranger
    capsys.readouterr()
    assert main(['segment', picture, '--unknown', '0.9', '--out', str(out), '--force', *model]) == 2
    assert 'need a head' in capsys.readouterr().err
    policy = ['segment', picture, '--head', str(head), '--background', 'gda', '--threshold', '0.9', '--out', str(out)]
    assert main([*policy, '--formats', 'usual', '--force', *model]) == 0
    assert (out / 'a_areas.csv').read_text() == areas.replace('nothing', 'background')
    assert 'stranger than 0.9' in capsys.readouterr().out


def test_descriptions_are_encoded_once_for_all_pictures(folder, fresh, monkeypatch):
    words = Vocabulary.parse('sky; car').with_descriptions({'sky': ['blue', 'bright'], 'car': ['four wheels']})
    model = tiny_denseclip(open_vocabulary=True, text_head='raw', context_length=None, num_contexts=0)
    model.data_preprocessor = fresh.model.data_preprocessor
    inferencer = Inferencer.from_model(model, list(fresh.steps))
    encode, asked = model.embed_texts, []
    monkeypatch.setattr(model, 'embed_texts', lambda texts: asked.append(tuple(texts)) or encode(texts))
    inferencer.explain = True
    pictures = sorted((folder / 'images').rglob('*.png'))[:2] * 2
    results = [inferencer.segment(picture, words) for picture in pictures]
    assert asked == [words.classes[0].prompts, words.classes[1].prompts]
    assert results[0].descriptions == results[2].descriptions and any(r.descriptions for r in results)
    other = words.with_descriptions({'sky': ['dark']})
    inferencer.segment(pictures[0], other)
    assert asked[2:] == [other.classes[0].prompts, other.classes[1].prompts]


@pytest.mark.parametrize(('strange', 'dtype'), [(7, np.uint8), (300, np.uint16)])
def test_an_id_that_no_sample_held_is_named(folder, fresh, strange, dtype):
    for number in range(400):  # a sample of 200 is looked at before
        for part in ('images', 'masks'):
            (folder / part / f'd{number:03}.png').symlink_to(folder / part / 'a.png')
    pixels = np.zeros((64, 96), dtype)
    pixels[:, 40:] = strange
    odd = folder / 'masks/d000.png'
    odd.unlink()
    Image.fromarray(pixels).save(odd)
    with labelled_maps(folder, Vocabulary.of('p; q'), {}) as (data, _):
        truth = data.truth(2)
        assert set(np.unique(truth(str(folder / 'images/a.png')))) == {-1, 0, 1}
        with pytest.raises(UnreadableFileError, match=rf'd000\.png: holds the ids {strange}, .*--ignore {strange}'):
            truth(str(folder / 'images/d000.png'))
