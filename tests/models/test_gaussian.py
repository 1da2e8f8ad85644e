"""Gaussian discriminant analysis: statistics that add up, the exact posterior, and classes that nobody showed."""

import pytest
import torch
import torch.nn.functional as F

from denseclip.models.functional.gaussian import (
    ClassStatistics,
    best_alpha,
    gaussian_classifier,
    new_class_classifier,
    shrunk_precision,
    squared_mahalanobis,
)


@pytest.fixture
def samples():
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(4, 6, generator=generator, dtype=torch.float64)
    labels = torch.randint(4, (300,), generator=generator)
    mix = torch.randn(6, 6, generator=generator, dtype=torch.float64)
    return means[labels] + torch.randn(300, 6, generator=generator, dtype=torch.float64) @ mix * 0.2, labels


def test_statistics_of_parts_add_up(samples):
    features, labels = samples
    whole = ClassStatistics.of(features, labels, 4)
    parts = ClassStatistics.empty(4, 6)
    for rows, truth in zip(features.split(70), labels.split(70), strict=True):
        parts = parts + ClassStatistics.of(rows, truth, 4)
    for name in ('means', 'scatter', 'count'):
        torch.testing.assert_close(getattr(parts, name), getattr(whole, name))
    centred = features - whole.means[labels]
    torch.testing.assert_close(whole.scatter, centred.T @ centred)


def test_a_weight_of_two_is_a_sample_twice(samples):
    features, labels = samples
    weights = torch.arange(300) % 3
    one = ClassStatistics.of(features, labels, 4, weights.double())
    two = ClassStatistics.of(features.repeat_interleave(weights, 0), labels.repeat_interleave(weights), 4)
    for name in ('means', 'scatter', 'count'):
        torch.testing.assert_close(getattr(one, name), getattr(two, name))


def test_the_precision_tends_to_the_inverse_covariance_and_shrinks_with_few_samples(samples):
    features, labels = samples
    found = ClassStatistics.of(features, labels, 4)
    covariance = found.scatter / (found.total - 1)
    many = shrunk_precision(covariance * 1e7, 1e7 + 1) * 1e7 / 6
    torch.testing.assert_close(many, covariance.inverse(), rtol=1e-3, atol=1e-3)
    few = torch.linalg.eigvalsh(shrunk_precision(covariance * 2, 3))
    full = torch.linalg.eigvalsh(covariance.inverse())
    assert few.max() / few.min() < full.max() / full.min()


def test_one_sample_per_class_is_the_nearest_mean():
    found = ClassStatistics.of(torch.eye(3), torch.arange(3), 3)
    assert torch.equal(shrunk_precision(found.scatter, found.total), torch.eye(3, dtype=torch.float64))


def test_the_classifier_is_the_posterior_of_gaussians(samples):
    features, labels = samples
    found = ClassStatistics.of(features, labels, 4)
    precision, priors = shrunk_precision(found.scatter, found.total), torch.tensor([0.1, 0.2, 0.3, 0.4]).double()
    weight, bias = gaussian_classifier(found.means, precision, priors)
    normal = torch.distributions.MultivariateNormal(found.means, precision_matrix=precision)
    joint = normal.log_prob(features[:, None]) + priors.log()
    torch.testing.assert_close((features @ weight + bias).softmax(1), joint.softmax(1))
    apart = features[:, None] - found.means
    direct = torch.einsum('ncd,de,nce->nc', apart, precision, apart)
    torch.testing.assert_close(squared_mahalanobis(features, found.means, precision), direct)


def test_of_equal_weights_the_first_is_taken():
    text = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    alpha, accuracies = best_alpha(text, text.flip(1), torch.tensor([0, 1]), (0.1, 0.5, 2.0))
    assert (alpha, accuracies) == (0.1, [1.0, 1.0, 0.0])


def test_a_class_without_samples_lies_between_its_text_and_what_is_like_it(samples):
    features, text = F.normalize(samples[0], dim=-1), F.normalize(samples[0][:2], dim=-1)
    means, weight, bias = new_class_classifier(features, text, neighbours=1, text_repeats=1)
    torch.testing.assert_close(means, text)  # each text is one of the rows, so it is its own neighbour
    assert weight.shape == (6, 2) and bias.shape == (2,)
    far = new_class_classifier(features, text, neighbours=1000)[0]
    torch.testing.assert_close(far, (features.sum(0) + 16 * text) / (len(features) + 16))
