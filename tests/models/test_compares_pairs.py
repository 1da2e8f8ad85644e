"""Likely classes of masks, compared again by sentences for pairs: the paper's numbers for all regions at once."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmseg.structures import SegDataSample
from tiny_fcclip import tiny_fcclip
from tiny_open_vocab import tiny_open_vocab
from tiny_two_stage import CLASSES, GivenMasks, random_masks, tiny_clip

from denseclip.clip.descriptions import differential_sentences
from denseclip.clip.differences import Difference
from denseclip.clip.vocabulary import Vocabulary
from denseclip.export.capabilities import capability
from denseclip.models.functional.descriptions import follow_up_scores
from denseclip.models.functional.pair_scores import compared_again, pair_scores
from denseclip.models.segmentors import TwoStageSegmentor
from denseclip.models.segmentors.compares_pairs import pair_table

NAMES = ('a', 'b', 'c', 'd', 'e')
WORDS = Vocabulary.from_names(NAMES)
NOTHING = torch.device('cpu')


def unit(*shape, seed=0):
    return torch.nn.functional.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


class Encoder:
    """A row for each text, the same whenever it is asked for."""

    def __init__(self):
        self.rows = {}

    def __call__(self, texts):
        return torch.stack([self.rows.setdefault(t, unit(8, seed=100 + len(self.rows))) for t in texts])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**16), st.integers(2, 5), st.integers(0, 10))
def test_all_regions_at_once_are_the_paper_region_by_region(seed, most, listed):
    draw = torch.Generator().manual_seed(seed)
    pairs, differences = {}, []
    for _ in range(listed):
        one, two = torch.randperm(5, generator=draw)[:2].tolist()
        count = int(torch.randint(1, 4, (1,), generator=draw))
        texts = [(f'{NAMES[one]} {k}', f'{NAMES[two]} {k % 2}') for k in range(count)]
        key = f'{min(one, two)}_{max(one, two)}'
        if key not in pairs:
            pairs[key] = {'classes': [one, two], 'prompt_pairs': [{'prompt_pair': list(both)} for both in texts]}
            differences.append(Difference((NAMES[one], NAMES[two]), tuple(dict.fromkeys(texts))))
    encode = Encoder()
    words = WORDS.with_differences(differences) if differences else WORDS
    table = pair_table(words, encode, NOTHING)
    features = unit(7, 8, seed=seed)
    top = torch.stack([torch.randperm(5, generator=draw)[:most] for _ in range(7)])
    expected = [
        follow_up_scores(f[None], [encode(s) for s in differential_sentences(t.tolist(), NAMES, pairs)])
        for f, t in zip(features, top, strict=True)
    ]
    torch.testing.assert_close(pair_scores(features, top, table), torch.cat(expected))


def test_only_the_likely_classes_of_described_pairs_change_and_share_what_they_had():
    words = WORDS.with_differences([Difference(('a', 'b'), (('one', 'two'),))])
    table = pair_table(words, Encoder(), NOTHING)
    logits = torch.tensor([[9.0, 8.0, 3.0, 2.0, 1.0], [1.0, 2.0, 3.0, 9.0, 8.0]])
    found = compared_again(logits, unit(2, 8), table, 10.0, 2)
    assert torch.equal(found[:, 2:], logits[:, 2:]) and torch.equal(found[1], logits[1])
    assert not torch.allclose(found[0, :2], logits[0, :2])
    torch.testing.assert_close(found.logsumexp(1), logits.logsumexp(1))
    assert torch.equal(compared_again(logits, unit(2, 8), table, 10.0, 1), logits)
    assert compared_again(logits[:0], unit(0, 8), table, 10.0, 2).shape == (0, 5)


@torch.no_grad()
def test_a_two_stage_model_looks_again_where_its_words_say_so():
    plain = Vocabulary.of(CLASSES)
    masks = GivenMasks(random_masks(5))
    model = TwoStageSegmentor(tiny_clip(), plain, 'photo', region_classifier={}, proposer=masks, stages='second').eval()
    image = 255 * torch.rand(3, 32, 40, generator=torch.Generator().manual_seed(1))
    shares = torch.nn.functional.interpolate(random_masks(5)[None], size=(32, 40))[0].sigmoid()
    before = model.classify(image, shares, None, None)
    model.set_vocabulary(plain.with_differences([Difference(('sky', 'road'), (('a blue sky', 'a grey road'),))]))
    after = model.classify(image, shares, None, None)
    sentences = [['a blue sky', 'a photo of a sky.'], ['a photo of a car.'], ['a photo of a road.', 'a grey road']]
    regions = model.embed_regions(image, shares)
    expected = model.scale * follow_up_scores(regions.embeddings, [model.text.embed_texts(s) for s in sentences])
    seen = regions.valid
    torch.testing.assert_close(after.second[seen], expected.log_softmax(dim=-1)[seen], atol=1e-3, rtol=1e-3)
    assert seen.any() and not torch.allclose(after.second[seen], before.second[seen], atol=1e-3)
    model.set_vocabulary(plain)
    assert torch.equal(model.classify(image, shares, None, None).second, before.second)


@torch.no_grad()
def test_fcclip_and_maft_compare_again_and_are_not_exported_so():
    words = Vocabulary.of(['sky', 'car', 'road', 'tree'])
    told = words.with_differences([Difference(('sky', 'tree'), (('blue', 'green leaves'),))])
    picture = [SegDataSample(metainfo=dict(ori_shape=(64, 64), img_shape=(64, 64)))]
    for kind in ('FCCLIP', 'MAFTPlus'):
        model = tiny_fcclip(kind, vocabulary=words)
        images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
        features = model.extract_feat(images)
        masks = model.propose(features, picture).mask_logits
        before = model.clip_logits(features, masks)
        model.set_vocabulary(told)
        after = model.clip_logits(features, masks)
        assert torch.equal(after[..., -1], before[..., -1])  # "void"
        assert not torch.allclose(after[..., :-1], before[..., :-1])
        torch.testing.assert_close(after[..., :-1].logsumexp(-1), before[..., :-1].logsumexp(-1))
        assert 'pairs' in capability(model).reason
        model.set_vocabulary(words)
        assert torch.equal(model.clip_logits(features, masks), before)


def test_models_of_pixels_refuse_pairs_and_keep_their_words():
    model = tiny_open_vocab(vocabulary=WORDS)
    with pytest.raises(ValueError, match='compares no pairs'):
        model.set_vocabulary(WORDS.with_differences([Difference(('a', 'b'), (('x', 'y'),))]))
    assert model.vocabulary == WORDS
