"""The masked decoder: what it promises to guides, masks and queries."""

import pytest
import torch
from tiny_mask_generator import CHANNELS, pyramid, text, tiny_generator

from denseclip.models.heads.mask2former import DeformablePixelDecoder
from denseclip.models.heads.mask2former.decoder import attention_mask
from denseclip.models.heads.mask2former.layers import MaskedDecoderLayer


class Recorder:
    """A guide that remembers its calls and adds something at one place."""

    def __init__(self, at=None, shift=0.0):
        self.calls, self.at, self.shift = [], at, shift

    def __call__(self, layer, position, queries, query_pos):
        self.calls.append((layer, position))
        assert queries.shape[-2:] == query_pos.shape[-2:]
        return queries + self.shift if (layer, position) == self.at else queries


def predictions(head, features, rows, guide=None):
    with torch.no_grad():
        return head(features, *rows, guide=guide, all_layers=True).layers


def test_a_guide_is_asked_at_three_places_of_every_layer():
    head, features, rows, guide = tiny_generator().eval(), pyramid(), text(1, 2), Recorder()
    guided, plain = predictions(head, features, rows, guide), predictions(head, features, rows)
    assert guide.calls == [(i, p) for i in range(2) for p in ('before_image', 'after_image', 'after_self')]
    assert all(torch.equal(a.mask_logits, b.mask_logits) for a, b in zip(guided, plain, strict=True))


@pytest.mark.parametrize('position', ['before_image', 'after_image', 'after_self'])
def test_a_guide_changes_what_comes_after_it_only(position):
    head, features, rows = tiny_generator().eval(), pyramid(), text(1, 2)
    plain = predictions(head, features, rows)
    guided = predictions(head, features, rows, Recorder((1, position), torch.randn(6, 32)))
    same = [torch.equal(a.mask_logits, b.mask_logits) for a, b in zip(plain, guided, strict=True)]
    assert same == [True, True, False]


def test_a_query_looks_where_its_mask_is_and_everywhere_without_one():
    logits = torch.full((1, 2, 4, 4), -5.0)
    logits[0, 0, :2] = 5.0
    allowed = attention_mask(logits, (2, 2))
    assert allowed.shape == (1, 1, 2, 4)
    assert allowed[0, 0].tolist() == [[True, True, False, False], [True] * 4]


def test_pixels_outside_of_the_mask_have_no_influence():
    layer = MaskedDecoderLayer(16, 2, 16).eval()
    queries, pos, memory = torch.randn(1, 3, 16), torch.randn(3, 16), torch.randn(1, 5, 16)
    allowed = torch.tensor([True, True, False, True, False]).expand(1, 1, 3, 5)
    other = memory.clone()
    other[:, [2, 4]] = torch.randn(1, 2, 16)
    with torch.no_grad():
        first, second = (layer(queries, pos, m, torch.zeros(1, 5, 16), allowed) for m in (memory, other))
    torch.testing.assert_close(first, second, atol=1e-6, rtol=1e-6)


def test_permuted_queries_give_permuted_masks():
    head, features, rows = tiny_generator().eval(), pyramid(), text(1, 2)
    plain, order = predictions(head, features, rows), torch.randperm(6)
    for table in (head.decoder.query_feat, head.decoder.query_embed):
        table.weight.data = table.weight.data[order]
    for before, after in zip(plain, predictions(head, features, rows), strict=True):
        torch.testing.assert_close(before.mask_logits[:, order], after.mask_logits, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(before.class_logits[:, order], after.class_logits, atol=1e-4, rtol=1e-4)


def test_pictures_of_a_batch_are_independent():
    head, features, rows = tiny_generator().eval(), pyramid(), text(1, 2)
    alone = predictions(head, [f[:1] for f in features], rows)
    for one, both in zip(alone, predictions(head, features, rows), strict=True):
        torch.testing.assert_close(one.mask_logits, both.mask_logits[:1], atol=1e-5, rtol=1e-5)


def test_other_numbers_of_levels():
    """One attending level leaves three pyramid steps; four leave none."""
    features = pyramid(1)
    for levels in (1, 4):
        decoder = DeformablePixelDecoder(CHANNELS, 32, 16, 1, 4, 32, num_levels=levels)
        out = decoder(features)
        assert out.mask_features.shape == (1, 16, 16, 24) and len(out.memories) == levels
    with pytest.raises(ValueError, match='attending levels'):
        DeformablePixelDecoder(CHANNELS, num_levels=5)


def test_initial_weights():
    """Xavier for attention and feed-forward, unit normal for queries and levels, biases of convolutions zero."""
    head = tiny_generator(num_queries=400)
    attention = head.decoder.layers[0].image_attention.attn
    for weight in (attention.in_proj_weight, head.decoder.layers[1].feed_forward.linear1.weight):
        bound = (6 / sum(weight.shape)) ** 0.5
        assert 0.9 * bound < weight.abs().max() <= bound
    for table in (head.decoder.query_feat.weight, head.decoder.query_embed.weight):
        assert table.std().item() == pytest.approx(1.0, abs=0.05)
    assert not head.pixel_decoder.mask_features.bias.any()
    assert not head.pixel_decoder.input_proj[0][0].bias.any()
    assert head.decoder.classifier.logit_scale.exp().item() == pytest.approx(1 / 0.07)
