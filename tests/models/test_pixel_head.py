"""Heads of a few labelled pictures: what they change, what they never change, and how much is chosen."""

import dataclasses
import json

import pytest
import torch
from drawn_heads import WORDS, gaussians
from safetensors.torch import save_file
from tiny_models import tiny_denseclip
from tiny_open_vocab import READY, tiny_open_vocab

from denseclip.clip.towers import DenseReadOut
from denseclip.clip.vocabulary import Vocabulary
from denseclip.models.functional.gaussian import mix_scores
from denseclip.models.functional.picture_classifier import PictureFit
from denseclip.models.pixel_fit import Gathering
from denseclip.models.pixel_head import differing, feature_space
from denseclip.models.pixel_head_file import read_head, write_head
from denseclip.models.pixel_samples import (
    Cells,
    LabelledPicture,
    description_rows,
    fired_descriptions,
    head_of,
    labelled_cells,
    majority,
)
from denseclip.models.pixel_trail import PixelRequest
from denseclip.models.retrieval_head import PixelRNSHead
from denseclip.weights.errors import WeightFileError


def test_classes_without_samples_keep_their_score_and_the_others_share_theirs():
    text, scores = torch.randn(2, 4, 3, 5), torch.randn(2, 2, 3, 5) * 9
    mixed = mix_scores(text, scores, torch.tensor([2, 0]), 0.7)
    assert torch.equal(mixed[:, [1, 3]], text[:, [1, 3]])
    torch.testing.assert_close(mixed.logsumexp(1), text.logsumexp(1))
    torch.testing.assert_close((mixed[:, 2] - mixed[:, 0]), (text[:, [2, 0]] + 0.7 * scores).diff(dim=1)[:, 0].neg())
    every = mix_scores(text[:, :2], scores, torch.tensor([0, 1]), 0.7)
    torch.testing.assert_close(every.softmax(1), (text[:, :2] + 0.7 * scores).softmax(1))


def test_labels_follow_names_not_positions():
    head = gaussians(['road', 'automobile', 'lamp'], 4)
    labels, own = head.classes_of(WORDS)
    assert dict(zip(labels.tolist(), own.tolist(), strict=True)) == {1: 1, 2: 0}
    logits, features = torch.randn(1, 3, 2, 2), torch.randn(1, 4, 2, 2)
    turned = Vocabulary.parse('road; sky; car = automobile')
    one, two = head(logits, features, WORDS), head(logits[:, [2, 0, 1]], features, turned)
    torch.testing.assert_close(one[:, [2, 0, 1]], two)


@pytest.mark.parametrize('name', [*READY, 'merge=max'])
def test_a_head_that_weighs_nothing_changes_nothing_and_one_that_weighs_all_decides(name):
    options = {'merge': 'max', 'output': 'cosines'} if name == 'merge=max' else {}
    model = tiny_open_vocab('maskclip' if options else name, vocabulary=WORDS, **options)
    picture = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        plain = model.predict(picture)[0].pred_sem_seg.data
        with head_of(model, gaussians(WORDS.names, model.tower.embed_dim, 0.0)):
            assert torch.equal(model.predict(picture)[0].pred_sem_seg.data, plain)
        rigged = gaussians(WORDS.names, model.tower.embed_dim, 1e4)
        rigged._linear = torch.zeros_like(rigged._linear[0]), torch.tensor([0.0, 0.0, 1.0])
        with head_of(model, rigged):
            assert (model.predict(picture)[0].pred_sem_seg.data == 2).all()
        assert torch.equal(model.predict(picture)[0].pred_sem_seg.data, plain)


@pytest.mark.parametrize('mode', [{}, {'mode': 'slide', 'crop_size': (64, 64), 'stride': (32, 32)}])
def test_denseclip_gives_the_same_labels_by_each_of_its_ways(mode):
    model = tiny_denseclip(open_vocabulary=True, text_head='raw', test_cfg=mode).eval()
    model.set_vocabulary(WORDS)
    picture = torch.randn(1, 3, 96, 96)
    with torch.inference_mode(), head_of(model, gaussians(WORDS.names, model.decode_head.embed_dim, 0.5)):
        labels = model.predict(picture)[0].pred_sem_seg.data
        model.keep_logits = True
        logits = model.predict(picture)[0].seg_logits.data
    assert (logits.argmax(0) == labels[0]).float().mean() > 0.99  # sums of windows are rounded in another order
    with torch.inference_mode():
        assert not torch.equal(model.predict(picture)[0].seg_logits.data, logits)


def test_a_closed_set_has_no_pixel_features():
    assert not tiny_denseclip().has_pixel_features
    assert not tiny_open_vocab('trident').has_pixel_features  # windows become one map before they are labelled
    assert tiny_denseclip(open_vocabulary=True).has_pixel_features


@pytest.mark.parametrize('slide', [False, True])
def test_cells_carry_the_label_of_their_place(slide):
    settings = {'test_cfg': {'mode': 'slide', 'crop_size': (64, 64), 'stride': (32, 32)}} if slide else {}
    model = tiny_open_vocab(vocabulary=WORDS, **settings)
    truth = torch.full((80, 100), -1)  # the model pads it to whole patches of 16
    truth[:, :48], truth[40:, 52:] = 0, 2
    sample = model.predict(torch.randn(1, 3, 80, 100))[0]
    cells = labelled_cells(model, torch.randn(1, 3, 80, 100), sample, truth)
    assert ((cells.labels == 0) == (cells.columns < 0.5)).all() and set(cells.labels.tolist()) == {0, 2}
    assert cells.logits.shape[1] == 3
    torch.testing.assert_close(cells.features.norm(dim=1), torch.ones(len(cells.labels)))


def test_a_cell_without_a_majority_has_no_class():
    labels = torch.tensor([[0, 0, 1, 2], [0, 1, -1, -1]])
    assert majority(labels, (1, 2)).tolist() == [[0, -1]]


def spread(means, words, counts, generator):
    """Cells around means; ``words``: whether the text is right, says nothing, or is wrong."""
    labels = torch.arange(len(means)).repeat_interleave(torch.tensor(counts))
    labels = labels[torch.randperm(len(labels), generator=generator)]
    features = means[labels] + 0.25 * torch.randn(len(labels), means.shape[1], generator=generator)
    features = torch.nn.functional.normalize(features, dim=1)
    logits = {'right': 9.0, 'nothing': 0.0}[words] * torch.eye(len(means))[labels]
    return Cells(features, logits, labels, torch.rand(len(labels), generator=generator))


@pytest.mark.parametrize('pictures', [1, 3, 7])
def test_the_weight_is_chosen_by_what_is_held_out(pictures):
    generator = torch.Generator().manual_seed(1)
    means = torch.nn.functional.normalize(torch.randn(3, 8, generator=generator), dim=1)
    for words in ('right', 'nothing'):
        gathering = Gathering(WORDS, pictures)
        for _ in range(pictures):
            gathering.add(LabelledPicture(spread(means, words, [40, 20, 0], generator)))  # nobody shows a road
        head, choice = gathering.head({'model': 'x'}, {'a': 1})
        assert head.names == ('sky', 'car')
        assert (choice.alpha == 0) is (words == 'right')  # of equals the first: the words alone
        assert choice.miou > 90 and (choice.text_miou > 90) is (words == 'right')


def test_strange_pixels_are_far_from_all_classes():
    generator = torch.Generator().manual_seed(2)
    means = torch.eye(3, 8)
    gathering = Gathering(WORDS, 4)
    for _ in range(4):
        gathering.add(LabelledPicture(spread(means, 'nothing', [50, 50, 50], generator)))
    head, _ = gathering.head({})
    known = spread(means, 'nothing', [300, 300, 300], generator).features.T[None, :, :, None]
    there = head.strangeness(known).flatten()
    torch.testing.assert_close(
        there.quantile(torch.tensor([0.25, 0.5, 0.75])), torch.tensor([0.25, 0.5, 0.75]), atol=0.1, rtol=0
    )
    strange = head.strangeness(torch.eye(8)[5].view(1, 8, 1, 1) * 3)
    assert strange.shape == (1, 1, 1, 1) and strange.item() > 0.99


def test_spaces_differ_by_weights_and_by_read_out():
    one, two = tiny_open_vocab(vocabulary=WORDS), tiny_open_vocab(vocabulary=WORDS)
    assert not differing(feature_space(one), feature_space(two))
    assert differing(feature_space(one), feature_space(tiny_open_vocab('naclip'))) == ['read_out']
    with torch.no_grad():
        two.tower.visual.conv1.weight += 1
    assert differing(feature_space(one), feature_space(two)) == ['tower']


def test_a_space_stays_the_same_whatever_is_read_beside_it_or_can_be_set_later():
    names = ('maskclip', 'scclip')
    for model in (tiny_open_vocab(name, vocabulary=WORDS) for name in names):
        space = feature_space(model)
        spelt = dataclasses.asdict(model.tower.read_out)
        for later in ('branch', 'branch_weight', 'repair'):
            if json.dumps(spelt[later]) == json.dumps(dataclasses.asdict(DenseReadOut())[later]):
                del spelt[later]  # a file of the time before
        old = {**space, 'read_out': json.dumps(spelt, sort_keys=True)}
        assert not differing(old, space)
        for scorer in ('mixed', 'agreement', None):
            model.active_vocabulary = scorer
            assert not differing(old, feature_space(model)) and feature_space(model) == space
        for other in (spelt | {'scale': 2.0}, spelt | {'unheard_of': 1}, spelt | {'attention': 'kk'}):
            assert differing({**space, 'read_out': json.dumps(other)}, space) == ['read_out']
        assert differing({**space, 'read_out': '{'}, space) == ['read_out']


def test_a_head_is_the_same_after_a_file(tmp_path):
    head = gaussians(['road', 'car'], 4, 0.3)
    read = read_head(write_head(head, tmp_path / 'head.safetensors'))
    assert (read.names, read.alpha, read.vocabulary) == (head.names, 0.3, WORDS)
    logits, features = torch.randn(1, 3, 2, 2), torch.randn(1, 4, 2, 2)
    torch.testing.assert_close(read(logits, features, WORDS), head(logits, features, WORDS))


def test_a_head_of_regions_is_the_same_after_a_file(tmp_path):
    head = regions_of_two()
    read = read_head(write_head(head, tmp_path / 'head.safetensors'))
    assert (read.names, read.fit, read.vocabulary, read.facts) == (head.names, head.fit, WORDS, {'pictures': 2})
    assert torch.equal(read.regions, head.regions) and torch.equal(read.owners, head.owners)


def regions_of_two():
    fit = PictureFit(steps=3, seed=5)
    return PixelRNSHead(('road', 'car'), torch.eye(3, 4), torch.tensor([0, 1, 1]), {}, WORDS, fit, {'pictures': 2})


@pytest.mark.parametrize('change', ['kind', 'names', 'means', 'precision', 'vocabulary', 'alpha', 'method'])
def test_damaged_files_are_named(change, tmp_path):
    spoil(gaussians(['road', 'car'], 4), change, tmp_path / 'head.safetensors')


@pytest.mark.parametrize('change', ['names', 'owners', 'regions', 'vocabulary', 'fit', 'method'])
def test_damaged_files_of_regions_are_named(change, tmp_path):
    spoil(regions_of_two(), change, tmp_path / 'head.safetensors')


def spoil(head, change, path):
    write_head(head, path)
    from safetensors import safe_open

    with safe_open(str(path), 'pt') as file:
        meta, tensors = dict(file.metadata()), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    if change in tensors:
        tensors[change] = tensors[change][:1] if change in ('means', 'regions') else -tensors[change]
    elif change == 'kind':
        del meta['kind']
    else:
        spoilt = {'names': '["road"]', 'vocabulary': '{"classes": {}}', 'alpha': 'NaN', 'method': 'other'}
        meta[change] = {**spoilt, 'fit': '{"steps": 1e300}'}[change]
    save_file(tensors, str(path), metadata=meta)
    with pytest.raises(WeightFileError, match='head.safetensors') as caught:
        read_head(path)
    assert '\n' not in str(caught.value)


def test_the_description_that_the_pixels_are_made_of_fires_first():
    words = WORDS.with_descriptions({'sky': ['blue', 'clouds', 'bright', 'wide'], 'car': ['four wheels']})
    for model in (
        tiny_open_vocab(),
        tiny_denseclip(open_vocabulary=True, text_head='raw', context_length=None, num_contexts=0).eval(),
    ):
        model.set_vocabulary(words)
        with torch.inference_mode():
            rows = getattr(model, 'text', model).embed_texts(words.classes[0].prompts)
            picture = torch.randn(1, 3, 64, 96)
            model.pixel_request = PixelRequest(features=True)
            sample = model.predict(picture)[0]
            labels = torch.zeros(64, 96, dtype=torch.long)
            found = fired_descriptions(sample.pixel_windows, labels, words, description_rows(model, words))
            mean = labelled_cells(model, picture, sample, labels).features.mean(dim=0)
        expected = torch.nn.functional.cosine_similarity(rows, mean[None]).argsort(descending=True)[:3]
        assert [text for text, _ in found['sky']] == [words.classes[0].descriptors[k] for k in expected.tolist()]
        assert set(found) == {'sky'} and found['sky'][0][1] >= found['sky'][2][1]


def test_a_background_with_prompts_takes_no_part_in_the_choice():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(3).repeat(40)
    features = torch.nn.functional.normalize(torch.eye(3)[labels] + torch.randn(120, 3, generator=generator), dim=1)
    logits = torch.randn(120, 3, generator=generator)
    columns = torch.rand(120, generator=generator)
    found = []
    for planes in (logits, torch.cat([logits, torch.full((120, 1), 50.0)], dim=1)):
        gathering = Gathering(WORDS, 2)
        gathering.add(LabelledPicture(Cells(features, planes, labels, columns)))
        gathering.add(LabelledPicture(Cells(features.flip(0), planes.flip(0), labels.flip(0), columns)))
        found.append(gathering.head({})[1])
    assert found[0].text_miou == found[1].text_miou > 0
