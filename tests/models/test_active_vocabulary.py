"""Classes chosen before pixels are labelled, by every model that can."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from device_safety import fake_cuda
from mmseg.structures import SegDataSample
from tiny_fcclip import tiny_fcclip
from tiny_open_vocab import tiny_open_vocab
from tiny_ovseg import tiny_ovseg
from torch.utils._python_dispatch import TorchDispatchMode

from denseclip.clip.deep_prompts import CoupledPrompts
from denseclip.clip.text_bank import TextEmbeddings
from denseclip.clip.vocabulary import Vocabulary
from denseclip.models.functional.class_purification import active_boxes, rival_groups, spread_maps, transition
from denseclip.models.functional.class_scores import grid_crops, mixed_scores, place_scores
from denseclip.models.segmentors.patch_choice import Chooser, Seen, View
from denseclip.models.segmentors.score_maps import ScoreMaps
from denseclip.structures.active_vocabulary import SCORERS, ActiveVocabulary

WORDS = ['sky', ('car', ['automobile', 'vehicle']), 'road', 'tree', 'cat', 'dog', 'house', 'boat', 'cup', 'bell']
SLIDE = dict(mode='slide', crop_size=(64, 64), stride=(48, 48))
"""Windows of the pictures below."""


def pictures(count: int = 1, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 3, 80, 112, generator=torch.Generator().manual_seed(seed))


def labels(model, images: torch.Tensor) -> list[torch.Tensor]:
    with torch.no_grad():
        return [s.pred_sem_seg.data for s in model.predict(images, [SegDataSample() for _ in images])]


def choice(model, images: torch.Tensor):
    with torch.no_grad():
        return model.predict(images, [SegDataSample() for _ in images])[0].class_choice


@pytest.fixture(scope='module')
def naclip():
    return tiny_open_vocab('naclip', vocabulary=WORDS, test_cfg=SLIDE)


@pytest.fixture(autouse=True)
def _nothing_stays_chosen(naclip):
    yield
    naclip.active_vocabulary, naclip.offered = None, None
    naclip.set_vocabulary(WORDS)


@pytest.mark.parametrize('scorer', SCORERS)
@pytest.mark.parametrize('per', ['picture', 'window'])
def test_keeping_all_classes_changes_nothing(naclip, scorer, per) -> None:
    plain = labels(naclip, pictures())
    naclip.active_vocabulary = dict(scorer=scorer, per=per, share=1.0, side=32)
    assert bool(choice(naclip, pictures()).kept.all())
    assert torch.equal(labels(naclip, pictures())[0], plain[0])


@pytest.mark.parametrize('scorer', SCORERS)
def test_only_chosen_classes_are_answered_and_given_by_hand_they_give_the_same(naclip, scorer) -> None:
    naclip.active_vocabulary = dict(scorer=scorer, share=0.1, most=3, side=32)
    found = choice(naclip, pictures())
    chosen = labels(naclip, pictures())[0]
    assert int(found.kept.sum()) == 3 and set(chosen.unique().tolist()) <= set(found.kept.nonzero()[:, 0].tolist())
    assert float(found.scores[found.kept].min()) >= float(found.scores[~found.kept].max())
    naclip.active_vocabulary, naclip.offered = None, found.kept
    assert torch.equal(labels(naclip, pictures())[0], chosen)


@pytest.mark.parametrize('scorer', SCORERS)
def test_the_order_of_names_does_not_matter(naclip, scorer) -> None:
    naclip.active_vocabulary = dict(scorer=scorer, share=0.1, most=4, side=32)
    before, first = labels(naclip, pictures())[0], choice(naclip, pictures())
    order = torch.randperm(len(WORDS), generator=torch.Generator().manual_seed(1))
    naclip.set_vocabulary([WORDS[k] for k in order])
    assert torch.equal(choice(naclip, pictures()).kept, first.kept[order])
    assert torch.equal(order[labels(naclip, pictures())[0]], before)


@pytest.mark.parametrize('preset', ['maskclip', 'sclip', 'pearl', 'resclip', 'lposs'])
def test_a_batch_equals_its_pictures_one_by_one(preset) -> None:
    model = tiny_open_vocab(preset, vocabulary=WORDS, test_cfg=dict(active_vocabulary=dict(scorer='mixed', most=3)))
    images = pictures(2)
    together = labels(model, images)
    for n, found in enumerate(together):
        assert torch.equal(labels(model, images[n : n + 1])[0], found)
        assert len(found.unique()) <= 3


def test_what_is_read_for_a_choice_is_not_read_without_one(naclip) -> None:
    before = naclip.tower.read_out
    for scorer in ('agreement', 'picture', None):
        naclip.active_vocabulary = scorer
    assert naclip.tower.read_out == before and naclip.tower.weights_from == ()
    assert 'class_choice' not in naclip.predict(pictures(), [SegDataSample()])[0]


def test_the_class_token_read_beside_a_changed_block_is_the_ordinary_image_embedding(naclip) -> None:
    tower = naclip.tower
    with torch.no_grad(), tower.reading(pooled=True):
        both = tower(pictures()[..., :64])
    with (
        torch.no_grad(),
        tower.reading(dense=False, pooled=True, attention='qk', residual=True, ffn=True, gaussian=None),
    ):
        alone = tower(pictures()[..., :64])
    assert torch.allclose(both.pooled, alone.pooled, atol=1e-5)


@pytest.mark.parametrize('make', [tiny_fcclip, tiny_ovseg])
@pytest.mark.parametrize('scorer', ['picture', 'dense', 'mixed'])
def test_models_of_masks_choose_too(make, scorer) -> None:
    model = make()
    model.set_vocabulary(WORDS)
    plain = labels(model, pictures())[0]
    model.active_vocabulary = dict(scorer=scorer, share=1.0)
    assert torch.equal(labels(model, pictures())[0], plain)
    model.active_vocabulary = dict(scorer=scorer, most=3)
    found, chosen = choice(model, pictures()), labels(model, pictures())[0]
    assert int(found.kept.sum()) == 3 and bool(found.kept[chosen.unique()].all())
    model.active_vocabulary, model.offered = None, found.kept
    assert torch.equal(labels(model, pictures())[0], chosen)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ('mixt', "did you mean 'mixed'"),
        (dict(scorer='agreement', threshold=0.7), 'threshold=0.7 must be a number from 0 to 0.5'),
        (dict(scorer='picture', share=1.5), 'share=1.5'),
        (dict(scorer='picture', most=0), 'most=0'),
        (dict(scorer='picture', per='pixel'), "per='pixel'"),
        (dict(scorer='picture', overlap=0.5), "scorer='agreement'"),
        (dict(scorer='agreement', relabel=True), "output='probabilities'"),
        (dict(treshold=0.1), 'must be a scorer'),
        (7, 'must be a scorer'),
    ],
)
def test_bad_settings_are_refused_in_one_sentence_and_change_nothing(naclip, settings, message) -> None:
    naclip.active_vocabulary = 'picture'
    with pytest.raises(ValueError, match=message):
        naclip.active_vocabulary = settings
    assert naclip.active_vocabulary == ActiveVocabulary('picture')


def test_what_a_model_cannot_choose_by_is_refused() -> None:
    with pytest.raises(ValueError, match="FCCLIP has no 'agreement'"):
        tiny_fcclip().active_vocabulary = 'agreement'
    with pytest.raises(ValueError, match='vision transformer'):
        tiny_open_vocab('maskclip', model='RN50', vocabulary=WORDS).active_vocabulary = 'agreement'
    with pytest.raises(ValueError, match='reads the attention'):
        tiny_open_vocab('resclip', vocabulary=WORDS).active_vocabulary = 'agreement'
    prompted = tiny_open_vocab('naclip', vocabulary=WORDS)
    prompted.tower.take_prompts(CoupledPrompts(16, 32, 2, 2))
    with pytest.raises(ValueError, match='deep prompts'):
        prompted.active_vocabulary = 'agreement'


@pytest.mark.parametrize('scorer', ['dense', 'mixed', 'agreement'])
def test_windows_of_padding_alone_have_no_say(scorer) -> None:
    choose = dict(scorer=scorer, per='window', **(dict(most=3) if scorer != 'agreement' else {}))
    model = tiny_open_vocab('naclip', vocabulary=WORDS, test_cfg=dict(SLIDE, active_vocabulary=choose))
    found = []
    for width in (112, 64):  # two columns of windows, of which the second shows padding; and the first alone
        meta = dict(ori_shape=(80, 52), img_padding_size=(0, width - 52, 0, 0))
        with torch.no_grad():
            found += model.predict(pictures()[..., :width], [SegDataSample(metainfo=meta)])
    assert torch.equal(found[0].class_choice.kept, found[1].class_choice.kept)
    assert found[0].pred_sem_seg.data.shape == (1, 80, 52)


class LargestTensor(TorchDispatchMode):
    """Numbers of the largest tensor that is made."""

    size = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.size = max(self.size, out.numel() if isinstance(out, torch.Tensor) else 0)
        return out


@torch.no_grad()
def test_attention_of_all_blocks_is_never_there_together(naclip) -> None:
    naclip.active_vocabulary = 'agreement'
    tower, images = naclip.tower, torch.cat([pictures()] * 2, dim=2)
    with LargestTensor() as largest:
        found = tower(images).weights
    tokens, heads, blocks = found.shape[-1], 4, len(tower.weights_from)
    assert found.shape[1] == 1 and blocks == 10 and tokens == 71
    assert heads * tokens**2 <= largest.size < 2 * heads * tokens**2
    with tower.reading(weights_of_heads=True):
        each = tower(images).weights
    assert each.shape[1] == heads
    torch.testing.assert_close(each.mean(dim=1, keepdim=True), found)


@pytest.mark.parametrize(('count', 'kept'), [(3, 3), (5, 5), (10, 5), (32, 7), (150, 30), (847, 40)])
def test_a_fifth_of_the_classes_is_kept_but_5_to_40(count, kept) -> None:
    scores = torch.rand(count, generator=torch.Generator().manual_seed(0))
    found = ActiveVocabulary('picture').keep(scores)
    assert int(found.sum()) == kept and (kept == count or scores[found].min() > scores[~found].max())


def test_a_threshold_keeps_the_best_class_in_any_case() -> None:
    keep = ActiveVocabulary('crops', threshold=0.5).keep
    assert keep(torch.tensor([0.1, 0.7, 0.6, 0.2])).tolist() == [False, True, True, False]
    assert keep(torch.tensor([0.1, 0.2])).tolist() == [False, True]


# --- the mathematics ------------------------------------------------------------------------------------------------


def test_places_outside_the_picture_do_not_count() -> None:
    scores = torch.zeros(2, 6, 8)
    scores[0, :, 5:] = 9.0
    scores[1, 2, 2] = 5.0
    inside = torch.zeros(6, 8, dtype=torch.bool)
    inside[:, :5] = True
    found = place_scores(scores, inside)
    assert found[0] == 0 and found[1] > 0


def test_scores_that_are_all_alike_are_zero() -> None:
    assert torch.equal(mixed_scores(torch.full((3,), 2.0), torch.zeros(3)), torch.zeros(3))
    assert torch.isfinite(mixed_scores(torch.ones(1), torch.ones(1))).all()


def test_crops_cover_the_picture() -> None:
    image = torch.arange(3 * 64 * 100, dtype=torch.float32).view(3, 64, 100)
    crops = grid_crops(image, 24)
    assert crops.shape == (3 * 5, 3, 24, 24)
    assert torch.allclose(crops[0, 0, 0, 0], image[0, 0, 0]) and torch.allclose(
        crops[-1, -1, -1, -1], image[-1, -1, -1]
    )


def test_what_travels_stays_between_zero_and_one_and_near_its_source() -> None:
    weights = torch.eye(30) + 0.01
    travel = transition(weights / weights.sum(dim=1, keepdim=True))
    assert torch.allclose(travel.sum(dim=1), torch.ones(30), atol=1e-4) and torch.allclose(travel, travel.T, atol=1e-6)
    maps = torch.zeros(2, 5, 6)
    maps[0, 1:3, 1:3] = 1.0
    found = spread_maps(maps, travel)
    assert found.amin() >= 0 and found.amax() <= 1 and found[0, 1, 1] > 0.9 and found[0, 4, 5] < 0.1
    assert not found[1].any()


def test_boxes_lie_around_active_parts() -> None:
    plane = torch.zeros(8, 10)
    plane[1:3, 2:5] = 1.0
    assert active_boxes(plane) == [(1, 3, 2, 5)]
    assert active_boxes(torch.zeros(4, 4)) == [(0, 0, 0, 0)]


def test_rivals_of_rivals_are_rivals() -> None:
    maps = torch.zeros(4, 1, 12)
    for k, (start, stop) in enumerate([(0, 4), (1, 5), (2, 6), (8, 12)]):
        maps[k, 0, start:stop] = 1.0
    assert rival_groups(maps, 0.6) == [[0, 1, 2], [3]]
    assert rival_groups(maps, 0.9) == [[0], [1], [2], [3]]


@pytest.mark.parametrize('scorer', ['picture', 'dense', 'mixed', 'crops'])
@pytest.mark.parametrize('per', ['picture', 'window'])
def test_choices_are_made_on_fake_cuda(scorer, per) -> None:
    with fake_cuda(), torch.no_grad():
        text = TextEmbeddings(torch.randn(6, 4), torch.arange(6), tuple('abcdef'))
        inside = torch.ones(5, 7, dtype=torch.bool)
        views = [
            View(torch.randn(6, 5, 7), inside, Seen(pooled=torch.randn(4)), torch.randn(3, 40, 56)) for _ in range(2)
        ]
        chooser = Chooser(
            ActiveVocabulary(scorer, per=per), text, 100.0, lambda crops: crops.flatten(1)[:, :4], always=5
        )
        found, _ = chooser.choose(views, ScoreMaps([view.logits for view in views], None), torch.randn(3, 40, 60))
    assert found.kept.device.type == 'cuda' and found.scores.device.type == 'cuda' and len(found.kept) == 6


def test_freecps_settings_label_by_maps_that_have_spread() -> None:
    settings = dict(scorer='agreement', per='window', threshold=0.05, overlap=0.7, most=None, relabel=True, side=32)
    model = tiny_open_vocab(
        'maskclip', vocabulary=WORDS, test_cfg=dict(**SLIDE, keep_logits=True, active_vocabulary=settings)
    )
    sample = model.predict(pictures(), [SegDataSample()])[0]
    kept, scores = sample.class_choice.kept, sample.seg_logits.data
    assert 0 < int(kept.sum()) < len(WORDS) and not scores[~kept].any()
    assert scores.amin() >= 0 and scores.amax() <= 1 + 1e-6
    assert torch.equal(scores.argmax(dim=0), sample.pred_sem_seg.data[0])
    model.active_vocabulary = None
    assert 'class_choice' not in model.predict(pictures(), [SegDataSample()])[0]


def test_a_background_of_words_always_takes_part() -> None:
    words = Vocabulary.from_names(['sky', 'car', 'road', 'tree', 'cat', 'dog'])
    words = replace(words, background='prompts', background_names=('something else',))
    model = tiny_open_vocab('sclip', vocabulary=words, test_cfg=dict(active_vocabulary=dict(scorer='picture', most=1)))
    for seed in range(3):
        assert bool(choice(model, pictures(seed=seed)).kept[len(words)])
