"""What all text towers share: lengths, batches, order, identity."""

import pytest
import torch

from denseclip.clip.text import CLIPTextTower, PromptTooLongError

PROMPTS = ['road', 'a photo of a traffic light', 'sky', 'a very small dog on a chair', '', 'cat']


@pytest.fixture
def tower():
    torch.manual_seed(0)
    return CLIPTextTower.create(context_length=16, width=16, heads=2, layers=2, embed_dim=8).eval()


def test_tokenize_pads_to_the_longest_only(tower):
    tokens = tower.tokenize(['road', 'traffic light'])
    assert tokens.shape == (2, 4)
    assert tokens[0, 3] == 0
    assert tower.tokenize('road').shape == (1, 3)


def test_too_long_prompts_are_named(tower):
    with pytest.raises(
        PromptTooLongError, match=r"prompt 'traffic light' has 4 tokens .* the limit is 3.*truncate=True"
    ):
        tower.tokenize(['road', 'traffic light'], max_length=3)
    with pytest.raises(PromptTooLongError, match='the limit is 16'):
        tower.encode(['word ' * 30])
    assert tower.tokenize(['traffic light'], max_length=3, truncate=True)[0, -1] == 49407
    assert tower.encode(['word ' * 30], truncate=True).shape == (1, 8)


@pytest.mark.parametrize('batch_size', [1, 2, 256])
def test_encode_keeps_the_order(tower, batch_size):
    together = tower.encode(PROMPTS, batch_size=batch_size)
    single = torch.cat([tower.encode(p) for p in PROMPTS])
    assert together.shape == (6, 8)
    assert torch.allclose(together, single, atol=1e-6)
    assert not together.requires_grad


def test_batches_are_sorted_by_length(tower, monkeypatch):
    shapes = []
    original = tower.encode_tokens
    monkeypatch.setattr(tower, 'encode_tokens', lambda t, c=None: (shapes.append(tuple(t.shape)), original(t, c))[1])
    tower.encode(PROMPTS, batch_size=2)
    assert [rows for rows, _ in shapes] == [2, 2, 2]
    lengths = [length for _, length in shapes]
    assert lengths == sorted(lengths) and lengths[0] < lengths[-1]


def test_no_prompts(tower):
    assert tower.encode([]).shape == (0, 8)


def test_cropping_equals_the_full_context(tower):
    tokens = tower.tokenize(PROMPTS)
    full = torch.nn.functional.pad(tokens, (0, 16 - tokens.shape[1]))
    assert torch.allclose(tower.encode_tokens(full)[0], tower.encode(PROMPTS), atol=1e-5)


def test_fingerprint_follows_the_weights(tower):
    before = tower.fingerprint()
    assert tower.fingerprint() == before
    with torch.no_grad():
        tower.ln_final.bias[3] += 1
    changed = tower.fingerprint()
    assert changed != before
    with torch.no_grad():
        tower.ln_final.bias[3] -= 1
    assert tower.fingerprint() == before


def test_fingerprint_notices_writes_through_data(tower):
    before = tower.fingerprint()
    tower.positional_embedding.data.mul_(1.5)
    assert tower.fingerprint() != before


def test_fingerprint_tells_apart_what_the_weights_do_not_show(tower):
    quick = CLIPTextTower.create(context_length=16, width=16, heads=2, layers=2, embed_dim=8, quick_gelu=True)
    for change in ({'quick_gelu': False}, {'heads': 4}):
        options = {'context_length': 16, 'width': 16, 'heads': 2, 'layers': 2, 'embed_dim': 8, **change}
        other = CLIPTextTower.create(**options)
        other.load_state_dict(quick.state_dict())
        assert other.fingerprint() != quick.fingerprint(), change
    twin = CLIPTextTower.create(context_length=16, width=16, heads=2, layers=2, embed_dim=8)
    twin.load_state_dict(quick.state_dict())
    assert twin.fingerprint() == quick.fingerprint()


def test_fingerprint_is_cheap_when_nothing_changed(tower, monkeypatch):
    before = tower.fingerprint()

    def fail(*_):
        raise AssertionError('the weights were hashed again')

    monkeypatch.setattr('denseclip.clip.text.base.hashlib.sha256', fail)
    assert tower.fingerprint() == before


def test_tower_without_tokenizer(tower):
    tower.tokenizer = None
    with pytest.raises(ValueError, match='built without a tokenizer'):
        tower.tokenize('road')
    assert tower.encode_tokens(torch.tensor([[49406, 49407]])).shape == (1, 1, 8)
