"""Scores from descriptions: which are kept, and that useless ones show as useless."""

import torch
import torch.nn.functional as F

from denseclip.models.functional.descriptions import (
    description_scores,
    discriminative_selection,
    filled_selection,
    follow_up_scores,
    weighted_scores,
)


def test_the_mean_of_cosines_is_not_the_cosine_of_the_mean():
    rows = F.normalize(torch.tensor([[1.0, 0], [0, 1], [1, 0.1]]), dim=1)
    image = F.normalize(torch.tensor([[1.0, 1]]), dim=1)
    scores = description_scores(image @ rows.T, torch.tensor([0, 0, 1]), 2)
    assert scores[0, 0] < 0.75  # sentences that disagree score less
    torch.testing.assert_close(follow_up_scores(image, [rows[:2]]), torch.ones(1, 1))


def test_a_description_is_kept_for_the_class_that_it_fits_best():
    similarity = torch.tensor([[0.9, 0.1, 0.2], [0.5, 0.6, 0.9], [0.3, 0.2, 0.1], [0.7, 0.2, 0.6]])
    chosen = discriminative_selection(similarity, torch.tensor([[0, 1]]), 2)
    assert chosen[0].tolist() == [[1, 0, 0, 1], [0, 1, 0, 0]]  # 0.9 - 0.1 and 0.7 - 0.2 are the largest margins
    filled = filled_selection(
        chosen * 0, torch.tensor([[0, 1]]), torch.tensor([[0, 1, 1, 1.0], [1, 0, 0, 0], [0] * 4]), 2
    )
    assert filled[0].tolist() == [[0, 1, 1, 0], [1, 0, 0, 0]]


def test_useless_descriptions_show_as_useless():
    generator = torch.Generator().manual_seed(0)
    classes, per, dim = 5, 6, 64
    meaning = F.normalize(torch.randn(classes, dim, generator=generator), dim=1)
    labels = torch.arange(classes).repeat(40)
    images = F.normalize(meaning[labels] + 0.25 * torch.randn(len(labels), dim, generator=generator), dim=1)
    index = torch.arange(classes).repeat_interleave(per)
    captions = images @ F.normalize(meaning + 0.35 * torch.randn(classes, dim, generator=generator), dim=1).T

    def accuracy(vectors):
        assignment = F.one_hot(index, classes).T.float()
        scores = weighted_scores(captions, images @ vectors.T, assignment, 0.0)
        return float((scores.argmax(1) == labels).float().mean())

    useful = F.normalize(meaning[index] + 0.2 * torch.randn(len(index), dim, generator=generator), dim=1)
    useless = [F.normalize(torch.randn(len(index), dim, generator=generator), dim=1) for _ in range(5)]
    assert accuracy(useful) > 0.9
    assert sum(map(accuracy, useless)) / 5 < 0.4  # chance is 0.2
