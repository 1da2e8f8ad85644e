"""Segment Anything over whole pictures: what its encoder averages, prompts of label maps, labels after its masks."""

import pytest
import torch
from mmseg.structures import SegDataSample
from tiny_open_vocab import tiny_open_vocab, tiny_sam

from denseclip.clip import token_repair
from denseclip.clip.towers.spliced import splice, whole_patches
from denseclip.models.functional.affinity import mean_cosine
from denseclip.models.prompted_sam import LastAttention, Likeness, Refinement, prompts_of, refined_labels
from denseclip.models.providers import SAMAggregation
from denseclip.models.segmentors.spliced_windows import SplicesWindows

SLIDE = dict(mode='slide', crop_size=(64, 64), stride=(32, 32), window_batch=4)


@pytest.mark.parametrize('like', [Likeness(), Likeness(-2.0), Likeness(3.0, most=0.5, instead=0.2)])
def test_average_of_the_picture_is_that_of_whole_matrices(like, monkeypatch):
    torch.manual_seed(0)
    side, grid = 4, (3, 2)
    sides, rows, columns = torch.randn(3, 2, side, side, 5), torch.randn(7, 5), torch.randn(7, 5)
    planes = torch.randn(6, *grid)
    q, k, v = sides.flatten(2, 3)
    logits = q @ k.transpose(1, 2) / 5**0.5
    for i in range(side * side):
        for j in range(side * side):
            down, right = i // side - j // side, i % side - j % side
            logits[:, i, j] += (q[:, i] * (rows[down + side - 1] + columns[right + side - 1])).sum(dim=1)
    inside = [y * side + x for y in range(grid[0]) for x in range(grid[1])]
    weights = logits.softmax(dim=2)[:, inside][:, :, inside]
    unit = torch.nn.functional.normalize(v[:, inside], dim=2)
    cosines = unit @ unit.transpose(1, 2)
    least = like.factor * cosines.mean(dim=(0, 2))[None, :, None]
    if like.instead is not None:
        least[least < 0] = like.instead
    weights = (weights * (cosines > least.clamp(max=like.most))).mean(dim=0)
    expected = (weights / weights.sum(dim=1, keepdim=True)) @ planes.flatten(1).T
    attention = LastAttention(sides, grid, rows, columns)
    for numbers in (2**24, 1):  # all rows at once, and one after the other
        monkeypatch.setattr(token_repair, 'NUMBERS_AT_ONCE', numbers)
        torch.testing.assert_close(attention.average(planes, like).flatten(1).T, expected)
    with pytest.raises(ValueError, match='below 1'):
        Likeness(most=1.0)


def label_map():
    """Two classes at half size: areas that touch at a corner, a small one, and one without a plane of scores."""
    small = torch.zeros(8, 12, dtype=torch.long)
    small[:3, :4], small[3:6, 4:8], small[7, 11] = 1, 1, 1
    small[7, 0:4] = 9
    scores = torch.full((2, 8, 12), 0.3)
    scores[1, small == 1] = 0.6
    scores[0, small == 0] = 0.7
    scores[1, 4, 6] = 0.9
    labels, scores = (t.repeat_interleave(2, -2).repeat_interleave(2, -1) for t in (small, scores))
    return labels, scores


def test_prompts_of_a_label_map():
    labels, scores = label_map()
    found = prompts_of(labels, scores, Refinement(least_area=4))
    assert found.classes.tolist() == [0, 1] and sorted(found.owner.tolist()) == [0, 1]
    index = found.owner.tolist().index(1)
    assert found.points[index].tolist() == [6, 4] and found.boxes[index].tolist() == [0, 0, 7, 5]
    none = prompts_of(labels, scores, Refinement(least_score=0.95))
    assert len(none.classes) == 0 and none.points.shape == (0, 2)
    assert prompts_of(labels, scores, Refinement(least_score=0.65, least_area=1)).boxes[-1].tolist() == [6, 4, 6, 4]


class Masks:
    """Answers each prompt by its box, and is sure of what it is told."""

    side, mask_side = 24, 24

    def __init__(self, quality):
        self.quality = quality
        self.asked = 0

    def masks(self, view, points, boxes, rough, by_rows):
        del points, rough, by_rows
        found = torch.full((len(boxes), 24, 24), -4.0)
        for plane, (left, top, right, bottom) in zip(found, boxes.round().int().tolist(), strict=True):
            plane[top : bottom + 1, left : right + 1] = 4.0
        quality = torch.tensor(self.quality)[self.asked : self.asked + len(boxes)]
        self.asked += len(boxes)
        return found, quality

    def enlarge(self, view, logits):
        return logits[:, : view.size[0], : view.size[1]]


class View:
    size = (16, 24)


@pytest.mark.parametrize('at_once', [32, 1])
def test_labels_follow_good_masks(at_once, monkeypatch):
    monkeypatch.setattr('denseclip.models.prompted_sam.label_prompts.PROMPTS_AT_ONCE', at_once)
    labels, scores = label_map()
    how = Refinement(least_area=4)
    inside = torch.zeros(16, 24, dtype=torch.bool)
    inside[:11, :15] = True  # the box of class 1
    found = refined_labels(labels, scores, Masks([0.0, 0.9]), View(), how)
    assert (found[inside] == 1).all() and torch.equal(found[~inside], labels[~inside])
    both = refined_labels(labels, scores, Masks([0.9, 0.9]), View(), how)
    assert torch.equal(both[:11, :15], scores.argmax(dim=0)[:11, :15])
    assert torch.equal(refined_labels(labels, scores, Masks([0.8, 0.8]), View(), how), labels)


def test_windows_become_one_map():
    picture = torch.arange(4 * 6, dtype=torch.float32).view(1, 4, 6)
    boxes = [(0, 32, 0, 64), (0, 32, 32, 96), (32, 64, 0, 64), (32, 64, 32, 96)]
    cut = [picture[:, t // 16 : b // 16, x // 16 : y // 16] for t, b, x, y in boxes]
    assert torch.equal(splice(cut, boxes, (64, 96), (16, 16)), picture)
    fine = [part.repeat_interleave(2, 1).repeat_interleave(2, 2) for part in cut]
    assert torch.equal(splice(fine, boxes, (64, 96), (16, 16))[:, ::2, ::2], picture)
    assert whole_patches((90, 160), (16, 16), (0, 0)) == (96, 160)
    assert whole_patches((33, 400), (16, 16), (64, 64)) == (64, 400)
    assert whole_patches((10, 33), (16, 16), (0, 0)) == (16, 48)
    tokens = torch.randn(3, 5, 2, 4)
    unit = torch.nn.functional.normalize(tokens.flatten(2), dim=1)
    torch.testing.assert_close(mean_cosine(tokens), (unit.transpose(1, 2) @ unit).mean())


def lively(**settings):
    """A small Trident whose SAM looks here and there, and whose every area prompts."""
    refine = settings.pop('refine', dict(least_quality=-1e3, least_area=1, least_score=0.0))
    sam = dict(sam=tiny_sam(), refine=refine, **settings.pop('sam', {}))
    model = tiny_open_vocab('trident', sam=sam, test_cfg=settings.pop('test_cfg', SLIDE), **settings)
    for parameter in model.sam.parameters():
        parameter.data = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)) * 0.5
    return model


def told_apart(model, images):
    """The model with words that lie where its pixels differ most."""
    pixels = torch.nn.functional.normalize(model.dense_features(images).flatten(2).transpose(1, 2).flatten(0, 1), dim=1)
    _, _, directions = torch.linalg.svd(pixels - pixels.mean(dim=0), full_matrices=False)
    words = torch.randn(model.class_embeddings().num_rows, 4) @ directions[:4]
    along = torch.nn.functional.normalize(pixels.mean(dim=0), dim=0)
    words = torch.nn.functional.normalize(words - (words @ along)[:, None] * along, dim=1)
    model.set_class_embeddings(words, model.vocabulary)
    model.scale = 400.0
    return model


@torch.no_grad()
def test_batches_flips_and_wide_pictures():
    torch.manual_seed(3)
    images = torch.randn(2, 3, 90, 160)
    model = told_apart(lively(), images)
    metas = [dict(img_shape=(90, 160), ori_shape=(45, 80)), dict(img_shape=(70, 110), ori_shape=(70, 110))]
    together = model.predict(images, [SegDataSample(metainfo=meta) for meta in metas])
    for image, meta, sample in zip(images, metas, together, strict=True):
        alone = model.predict(image[None], [SegDataSample(metainfo=meta)])[0].pred_sem_seg.data
        assert alone.shape[1:] == torch.Size(meta['ori_shape'])
        assert (alone != sample.pred_sem_seg.data).float().mean() < 0.01 and len(alone.unique()) > 1
    assert model._view is None and model._joined is None
    flipped = dict(**metas[0], flip=True, flip_direction='horizontal')
    plain = model.predict(images[:1, :, :, :].flip(3), [SegDataSample(metainfo=metas[0])])[0]
    turned = model.predict(images[:1, :, :, :].flip(3), [SegDataSample(metainfo=flipped)])[0]
    assert turned.pred_sem_seg.data.shape == plain.pred_sem_seg.data.shape
    model.sam.refine = None
    plain = model.predict(images[:1], [SegDataSample(metainfo=metas[0])])[0].pred_sem_seg.data
    turned = model.predict(images[:1], [SegDataSample(metainfo=flipped)])[0].pred_sem_seg.data
    assert torch.equal(turned, plain.flip(2))


@torch.no_grad()
def test_windows_are_whole_patches():
    torch.manual_seed(5)
    image = torch.randn(1, 3, 70, 100)
    model = told_apart(lively(test_cfg=dict(mode='slide', crop_size=(60, 50), stride=(30, 20), window_batch=3)), image)
    uneven = model.predict(image)[0]
    model.test_cfg.update(SLIDE)
    whole = model.predict(image)[0]
    assert torch.equal(uneven.pred_sem_seg.data, whole.pred_sem_seg.data)


@pytest.mark.parametrize('test_cfg', [SLIDE, dict(mode='whole')])
def test_computes_in_bfloat16(test_cfg):
    model = lively(test_cfg=test_cfg, sam=dict(columns=2))
    with torch.autocast('cpu', torch.bfloat16):
        found = model.predict(torch.randn(1, 3, 64, 96), [SegDataSample(metainfo=dict(ori_shape=(64, 96)))])[0]
    assert found.pred_sem_seg.data.shape == (1, 64, 96)


@torch.no_grad()
def test_masks_change_labels_and_nothing_else():
    torch.manual_seed(4)
    image = torch.randn(1, 3, 64, 96)
    model = told_apart(lively(), image)
    model.keep_logits = True
    refined = model.predict(image)[0]
    model.sam.refine = None
    plain = model.predict(image)[0]
    torch.testing.assert_close(refined.seg_logits.data, plain.seg_logits.data)
    assert not torch.equal(refined.pred_sem_seg.data, plain.pred_sem_seg.data)
    assert not any(name.startswith('sam.') for name in model.state_dict())


def test_what_does_not_go_together_is_refused():
    for settings, match in (
        (dict(join={}), 'without join'),
        (dict(spread={}), 'without spread'),
        (dict(affinity=dict(type='SpectralAffinity', dino=dict(model_name='vit_tiny_patch16_224'))), 'DINOAffinity'),
    ):
        with pytest.raises(ValueError, match=match):
            lively(**settings)
    with pytest.raises(ValueError, match='columns=0'):
        SAMAggregation(sam=tiny_sam(), columns=0)
    windowed = tiny_sam()
    windowed.vision_encoder.layers[-1].window_size = 3
    with pytest.raises(ValueError, match='through windows'):
        SAMAggregation(sam=windowed)
    assert SplicesWindows.accept_sam(lively(), None) is None
