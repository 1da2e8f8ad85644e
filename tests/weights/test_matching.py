"""Loading into a module: all fits, or the message says what does not."""

import pytest
import torch
from torch import nn

from denseclip.weights import WeightMismatchError, load_into


@pytest.fixture
def module():
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))


def test_strict_load_copies_everything(module):
    state = {k: torch.randn_like(v) if v.is_floating_point() else v + 5 for k, v in module.state_dict().items()}
    report = load_into(module, state)
    assert (report.missing, report.unexpected) == ((), ())
    for key, value in module.state_dict().items():
        assert torch.equal(value, state[key])


def test_old_files_without_batch_counter(module):
    state = {k: v for k, v in module.state_dict().items() if 'num_batches' not in k}
    assert load_into(module, state).missing == ()


def test_missing_unexpected_and_shapes_are_all_named(module):
    state = dict(module.state_dict())
    state['0.weight'] = torch.zeros(4, 5, 1, 1)
    state['head.weight'] = torch.zeros(1)
    del state['1.bias']
    before = {k: v.clone() for k, v in module.state_dict().items()}
    with pytest.raises(WeightMismatchError) as caught:
        load_into(module, state, source='x.pth')
    message = str(caught.value)
    for part in (
        "'x.pth' do not fit Sequential",
        '1 missing: 1.bias',
        '1 unexpected: head.weight',
        '(4, 5, 1, 1)',
        '(4, 3, 1, 1)',
    ):
        assert part in message
    for key, value in module.state_dict().items():  # nothing was half-loaded
        assert torch.equal(value, before[key])


def test_long_lists_are_cut_after_ten():
    module = nn.ModuleList(nn.Linear(1, 1) for _ in range(20))
    with pytest.raises(WeightMismatchError, match=r'40 missing: (\S+, ){9}\S+ \.\.\.'):
        load_into(module, {})


@pytest.mark.parametrize(
    ('rename', 'hint'), [('backbone.{}', "carry the prefix 'backbone.'"), ('{}', "lack the prefix '0.'")]
)
def test_prefix_hints(rename, hint):
    inner = nn.Linear(2, 2)
    target = inner if rename != '{}' else nn.Sequential(inner)
    state = {rename.replace('{}', k): v for k, v in inner.state_dict().items()}
    with pytest.raises(WeightMismatchError) as caught:
        load_into(target, state)
    assert hint in str(caught.value)


def test_not_strict_reports_but_shapes_still_raise(module):
    report = load_into(module, {'0.bias': torch.ones(4), 'x': torch.ones(1)}, strict=False)
    assert report.unexpected == ('x',)
    assert '0.weight' in report.missing
    assert torch.equal(module[0].bias, torch.ones(4))
    with pytest.raises(WeightMismatchError, match='1 of another shape'):
        load_into(module, {'0.bias': torch.ones(3)}, strict=False)


def test_ignored_prefixes(module):
    state = {**module.state_dict(), 'pooler.weight': torch.zeros(1)}
    assert load_into(module, state, ignore=('pooler.',)).unexpected == ('pooler.weight',)
