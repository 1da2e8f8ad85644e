"""Windows are run where the whole picture's pass was not sure, and only there."""

import math

import pytest
import torch
from parity.samples import plain_sample
from tiny_models import tiny_denseclip

from denseclip.core.placement import slide_boxes
from denseclip.models.segmentors.refined_slide import Refine, _seen_at, refined_maps

SIZE, CROP, STRIDE = (96, 128), (64, 64), (32, 32)
SLIDE = dict(mode='slide', crop_size=CROP, stride=STRIDE)


@pytest.fixture(scope='module')
def model():
    torch.manual_seed(0)
    return tiny_denseclip().eval()


def labels(model, image, **test_cfg):
    model.test_cfg.clear()
    model.test_cfg.update(test_cfg)
    with torch.no_grad():
        sample = model.predict(image, [plain_sample(SIZE, (50, 70))])[0]
    return sample.pred_sem_seg.data, sample.metainfo.get('refinement')


@pytest.fixture(scope='module')
def image():
    return torch.randn(1, 3, *SIZE, generator=torch.Generator().manual_seed(3))


def test_all_of_the_budget_is_plain_sliding(model, image):
    plain, _ = labels(model, image, **SLIDE)
    refined, report = labels(model, image, **SLIDE, refine=dict(budget=1.0))
    assert torch.equal(plain, refined) and report is None


def test_no_budget_is_the_whole_picture(model, image):
    whole, _ = labels(model, image, mode='whole')
    refined, report = labels(model, image, **SLIDE, refine=dict(budget=0.0, scales=[1.0]))
    assert torch.equal(whole, refined)
    assert report == {'windows': 6, 'run': 0, 'changed': 0.0}


def test_the_budget_bounds_the_pixels(model, image):
    """Six windows read twice the picture's pixels; passes at full and at half size read 5/8 of that."""
    _, report = labels(model, image, **SLIDE, refine=dict(budget=0.97, margin=1.0, scales=[1.0, 0.5]))
    assert report['windows'] == 6 and report['run'] == 2 and 0 <= report['changed'] <= 1
    _, report = labels(model, image, **SLIDE, refine=dict(budget=0.97, margin=1.0))
    assert report['run'] == 5


def test_settings_that_cannot_be_are_named():
    wrongs = (dict(budget=2), dict(margin=-1), dict(scales=[0.0]), dict(scales=[]), dict(scales=1), dict(windows=3))
    for wrong in (*wrongs, 0.5):
        with pytest.raises(ValueError, match='test_cfg.refine'):
            Refine.of(wrong)


class Recorder:
    """A model that knows the class of each pixel from its brightness, but is blind for one corner as a whole."""

    def __init__(self, blind: bool = True) -> None:
        self.seen, self.blind = [], blind

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        self.seen += [tuple(i.shape[-2:]) for i in images]
        scores = torch.cat([images[:, :1], -images[:, :1]], dim=1) * 20
        if self.blind and images.shape[-2:] == SIZE:
            scores[:, :, :30, :30] = 0.0
        return scores


WHOLE = (1.0,)


def test_only_uncertain_windows_are_run_and_join_the_mean():
    image, model = torch.ones(1, 3, *SIZE), Recorder()
    boxes = slide_boxes(SIZE, CROP, STRIDE)
    maps, report = refined_maps(image, boxes, Refine(budget=0.9, scales=WHOLE), model)
    assert model.seen == [SIZE, CROP] and report.run == 1  # the corner is in the first window alone
    expected = torch.full(SIZE, 20.0)
    expected[:30, :30] = 10.0
    assert maps.boxes is None and torch.equal(maps.maps[0][0], expected)
    assert report.changed == 0.0  # a tie went to the first class before, too


def test_sure_pictures_run_no_window_and_share_decides():
    image, boxes = torch.ones(1, 3, *SIZE), slide_boxes(SIZE, CROP, STRIDE)
    assert refined_maps(image, boxes, Refine(budget=0.9), Recorder(blind=False))[1].run == 0
    assert refined_maps(image, boxes, Refine(budget=0.9, share=0.5, scales=WHOLE), Recorder())[1].run == 0


@pytest.mark.parametrize(
    ('size', 'crop', 'stride', 'least'),
    [((96, 96), (64, 64), (16, 16), 4), ((540, 720), (320, 400), (213, 267), 4), ((100, 50), (50, 50), (20, 20), 2)],
)
def test_windows_that_cover_come_first(size, crop, stride, least):
    """A picture of which nothing is sure: with as many windows as cover it, each place is seen."""
    boxes = slide_boxes(size, crop, stride)
    pixels = len(boxes) * crop[0] * crop[1]
    passes = math.prod(side // 2 for side in size)
    budget = (passes + least * crop[0] * crop[1]) / pixels
    calls = []

    def run(images):
        calls.append(images)
        return torch.zeros(len(images), 2, *images.shape[-2:])

    image = torch.arange(math.prod(size)).float().view(1, 1, *size)
    _, report = refined_maps(image, boxes, Refine(budget + 1e-6, margin=1.0), run)
    assert report.run == least < len(boxes)
    seen = torch.cat([call.flatten() for call in calls[1:]]).unique()
    assert len(seen) == math.prod(size)


def test_a_smaller_pass_counts_less():
    """Two passes and a window that disagree: weights are 1, 0.5 and 1."""
    image, boxes = torch.ones(1, 3, *SIZE), slide_boxes(SIZE, SIZE, SIZE)
    says = {SIZE: 0.3, (48, 64): 0.9}

    def run(images):
        one = torch.full((1, 1, *images.shape[-2:]), says[tuple(images.shape[-2:])])
        return torch.cat([one, torch.zeros_like(one)], dim=1)

    both = Refine(0.0, scales=(1.0, 0.5))
    assert float(refined_maps(image, boxes, both, run)[0].maps[0][0].mean()) == pytest.approx(0.5)
    one = Refine(0.99, margin=1.0, scales=(0.5,))
    twice = [*boxes, *boxes, *boxes]  # the pixels of three windows allow two of them
    maps, report = refined_maps(image, twice, one, run)
    assert report.run == 2 and float(maps.maps[0][0].mean()) == pytest.approx((0.45 + 0.6) / 2.5)


def test_passes_have_sizes_that_scores_cover():
    model = Recorder(blind=False)
    refined_maps(
        torch.ones(1, 3, *SIZE),
        slide_boxes(SIZE, CROP, STRIDE),
        Refine(0.0, scales=(1.0, 0.5)),
        model,
        multiple=(20, 16),
    )
    assert model.seen == [(100, 128), (40, 64)]  # 96 and 48 are no multiples of 20


def test_all_that_saw_a_place_agree_where_they_should():
    """A scene that is linear in its coordinates stays itself, whatever is run, in batches and at another scale."""
    rows, columns = torch.arange(SIZE[0]) + 0.5, torch.arange(SIZE[1]) + 0.5
    image = (rows[:, None] - columns).expand(1, 3, *SIZE) / 128
    boxes = slide_boxes(SIZE, (62, 62), (33, 34))
    for scales, run in (((1.0, 0.5), 3), ((0.5,), 7)):
        maps, report = refined_maps(image, boxes, Refine(0.88, 1.0, scales=scales), Recorder(False), batch=2)
        assert report.run == run
        scores, inside = maps.maps[0][0], slice(3, -3)
        height, width = scores.shape
        assert (height, width) == SIZE  # as fine as a window, whatever the size of the pass
        y = (torch.arange(height) + 0.5) * (SIZE[0] / height)
        x = (torch.arange(width) + 0.5) * (SIZE[1] / width)
        expected = 20 * (y[:, None] - x) / 128
        # A window knows nothing beyond its border: the outermost half of a place may differ by that much.
        torch.testing.assert_close(scores[inside, inside], expected[inside, inside], atol=0.16, rtol=1e-3)


def test_places_that_are_the_same_are_not_sampled():
    scores = torch.randn(3, 8, 8)
    assert _seen_at(scores, (32, 96, 0, 64), (96, 128), (12, 16)) is scores
    # half a place further down each place lies between two
    between = _seen_at(scores, (36, 100, 0, 64), (112, 128), (14, 16))
    torch.testing.assert_close(between[:, 1:7], (scores[:, :6] + scores[:, 1:7]) / 2, rtol=1e-5, atol=1e-5)
