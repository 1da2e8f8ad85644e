"""Gaussian discriminant analysis against the authors' numbers."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from denseclip.models.functional.gaussian import (
    ClassStatistics,
    base_classifier,
    best_alpha,
    gaussian_classifier,
    new_class_classifier,
    shrunk_precision,
)

from .fixtures import Fixture
from .registry import consumes


def _unit(fixture: Fixture, name: str) -> Tensor:
    return F.normalize(fixture.input(name).double(), dim=-1)


@consumes('gda', 'few_shots')
def check_few_shots(fixture: Fixture) -> None:
    """Means, precision, classifier, the weight chosen on the validation part, and logits of the test part."""
    features, labels = _unit(fixture, 'features'), fixture.input('labels')
    text = fixture.input('text_weights').double()
    half = len(features) // 2
    halves = (slice(None, half), slice(half, None))
    parts = [ClassStatistics.of(features[part], labels[part], len(text)) for part in halves]
    found = parts[0] + parts[1]
    precision = shrunk_precision(found.scatter, found.total)
    weight, bias = gaussian_classifier(found.means, precision)
    fixture.expect('mu', found.means)
    fixture.expect('precision', precision)
    fixture.expect('W', weight)
    fixture.expect('b', bias)
    scale, data = fixture.config['scale'], fixture.manifest['data']
    val, truth = _unit(fixture, 'val_features'), fixture.input('val_labels')
    alpha, accuracies = best_alpha(scale * val @ text.T, val @ weight + bias, truth, fixture.config['alphas'])
    assert alpha == data['best_alpha']
    expected = [data['val_accuracy_by_alpha'][str(a)] for a in fixture.config['alphas']]
    torch.testing.assert_close(torch.tensor(accuracies) * 100, torch.tensor(expected), atol=1e-3, rtol=0)
    test = _unit(fixture, 'test_features')
    fixture.expect('zero_shot_logits', scale * test @ text.T)
    logits = scale * test @ text.T + alpha * (test @ weight + bias)
    fixture.expect('test_logits', logits)
    accuracy = float((logits.argmax(dim=1) == fixture.input('test_labels')).double().mean()) * 100
    assert abs(accuracy - data['test_accuracy']) < 1e-3


@consumes('gda', 'base_to_new')
def check_base_to_new(fixture: Fixture) -> None:
    """Classifiers of classes with samples and of classes without, and the logits of the latter."""
    config, alpha = fixture.config, fixture.manifest['data']['alpha']
    features, labels = F.normalize(fixture.input('features'), dim=-1), fixture.input('labels')
    text, new = fixture.input('text_weights'), fixture.input('text_weights_new')
    weight, bias = base_classifier(features, labels, len(text))
    fixture.expect('W_base', weight)
    fixture.expect('b_base', bias)
    val = fixture.input('val_features')
    assert best_alpha(100 * val @ text.T, val @ weight + bias, fixture.input('val_labels'))[0] == alpha
    means, weight, bias = new_class_classifier(features, new, config['k'], config['text_repeats'])
    fixture.expect('mu_new', means)
    fixture.expect('W_new', weight)
    fixture.expect('b_new', bias)
    test = fixture.input('test_features_new')
    fixture.expect('test_logits_new', 100 * test @ new.T + alpha * (test @ weight + bias))
