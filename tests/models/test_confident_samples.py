"""NoLA's trusted samples, and Long-CLIP's losses: what holds for any numbers."""

import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from denseclip.models.functional.contrastive import contrastive_loss, long_caption_losses, principal_part
from denseclip.models.functional.pseudo_labels import confident_samples, samples_per_class


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 30), st.integers(1, 6), st.integers(1, 5), st.integers(0, 2**20))
def test_each_class_takes_its_surest_samples_once(samples, classes, count, seed):
    p = torch.rand(samples, classes, generator=torch.Generator().manual_seed(seed)).softmax(dim=1)
    index, labels = confident_samples(p, count)
    assert len(index.unique()) == len(index) and int(torch.bincount(labels, minlength=classes).max()) <= count
    best = p.argmax(dim=1)
    for label in best.unique().tolist():
        mine, own = index[labels == label], (best == label).nonzero()[:, 0]
        left = set(own.tolist()) - set(index[labels < label].tolist())
        surest = sorted(own.tolist(), key=lambda i: -float(p[i, label]))[:count]
        assert mine.tolist() == [i for i in surest if i in left]


def test_a_class_that_nobody_prefers_takes_second_choices():
    p = torch.tensor([[0.6, 0.3, 0.1], [0.5, 0.1, 0.4], [0.9, 0.04, 0.06]])
    index, labels = confident_samples(p, 1)
    assert index.tolist() == [2, 0, 1] and labels.tolist() == [0, 1, 2]
    assert confident_samples(p, 1, classes=[2])[0].tolist() == [1]
    assert samples_per_class(100, 10) == 16 and samples_per_class(4000, 10) == 80


def test_main_parts_of_a_small_batch_are_all_of_it():
    generator = torch.Generator().manual_seed(0)
    images, long, short = (F.normalize(torch.randn(9, 20, generator=generator), dim=1) for _ in range(3))
    assert torch.allclose(principal_part(images, 8), images, atol=1e-5)
    flat = principal_part(images, 2)
    assert torch.linalg.matrix_rank(flat - flat.mean(dim=0), atol=1e-4) == 2
    scale = torch.tensor(10.0)
    first, second = long_caption_losses(images, long, short, scale, components=8, label_smoothing=0.0)
    assert torch.allclose(first, contrastive_loss(images, long, scale))
    assert torch.allclose(second, contrastive_loss(images, short, scale), atol=1e-4)
