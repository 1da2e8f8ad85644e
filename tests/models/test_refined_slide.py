"""Windows are run where the whole picture's pass was not sure, and only there."""

import pytest
import torch
from parity.samples import plain_sample
from tiny_models import tiny_denseclip

from denseclip.core.placement import slide_boxes
from denseclip.models.segmentors.refined_slide import Refine, refined_maps

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
    refined, report = labels(model, image, **SLIDE, refine=dict(budget=0.0))
    assert torch.equal(whole, refined)
    assert report == {'windows': 6, 'run': 0, 'changed': 0.0}


def test_the_budget_bounds_the_windows(model, image):
    _, report = labels(model, image, **SLIDE, refine=dict(budget=0.5, margin=1.0))
    assert report['windows'] == 6 and report['run'] == 3 and 0 <= report['changed'] <= 1


def test_settings_that_cannot_be_are_named():
    for wrong in (dict(budget=2), dict(margin=-1), dict(scale=0.0), dict(windows=3), 0.5):
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


def test_only_uncertain_windows_are_run():
    image, model = torch.ones(1, 3, *SIZE), Recorder()
    boxes = slide_boxes(SIZE, CROP, STRIDE)
    maps, report = refined_maps(image, boxes, Refine(budget=0.9), model)
    assert model.seen == [SIZE, CROP] and report.run == 1  # the corner is in the first window alone
    assert [torch.equal(m[0], torch.full(CROP, 20.0)) for m in maps.maps] == [True] * 6


def test_sure_pictures_run_no_window_and_share_decides():
    image, boxes = torch.ones(1, 3, *SIZE), slide_boxes(SIZE, CROP, STRIDE)
    assert refined_maps(image, boxes, Refine(budget=0.9), Recorder(blind=False))[1].run == 0
    assert refined_maps(image, boxes, Refine(budget=0.9, share=0.5), Recorder())[1].run == 0


def test_windows_that_are_not_run_see_the_whole_pass():
    """A scene that is linear in its coordinates stays itself, whatever is run, in batches and at another scale."""
    rows, columns = torch.arange(SIZE[0]) + 0.5, torch.arange(SIZE[1]) + 0.5
    image = (rows[:, None] - columns).expand(1, 3, *SIZE) / 128
    boxes = slide_boxes(SIZE, CROP, STRIDE)
    for scale in (1.0, 0.5):
        maps, report = refined_maps(image, boxes, Refine(0.5, 1.0, scale=scale), Recorder(False), batch=2)
        assert report.run == 3
        inside = slice(2, -2)
        for (top, bottom, left, right), scores in zip(boxes, maps.maps, strict=True):
            expected = 20 * image[0, 0, top:bottom, left:right]
            torch.testing.assert_close(scores[0][inside, inside], expected[inside, inside], atol=1e-3, rtol=1e-3)
