"""The open-vocabulary mask generator as a whole."""

import pytest
import torch
from device_safety import fake_cuda, meta_device, move_to_fake_cuda
from mmengine.registry import MODELS
from tiny_mask_generator import CHANNELS, halves, pyramid, text, tiny_generator

from denseclip.models.heads import OpenVocabMask2FormerHead
from denseclip.models.heads.mask2former import sine_positions
from denseclip.weights import WeightMismatchError
from denseclip.weights.convert import convert


def total(losses):
    return torch.stack(list(losses.values())).sum()


def test_shapes_and_layers():
    head, rows = tiny_generator(), text(1, 3, 2)
    out = head.train()(pyramid(), *rows)
    assert len(out.layers) == 3
    for layer in out.layers:
        assert layer.mask_logits.shape == (2, 6, 16, 24)
        assert layer.class_logits.shape == (2, 6, 4)
        assert layer.class_embeddings.shape == (2, 6, 16)
    assert [tuple(m.shape[2:]) for m in out.pixels.memories] == [(2, 3), (4, 6), (8, 12)]
    proposals = head.eval()(pyramid(), *rows).proposals
    assert proposals.mask_logits.shape == (2, 6, 16, 24) and proposals.class_embeddings.shape == (2, 6, 16)


def test_inference_classifies_the_last_layer_only_and_equally():
    head, features, rows = tiny_generator().eval(), pyramid(), text(2, 1)
    last, every = head(features, *rows), head(features, *rows, all_layers=True)
    assert (len(last.layers), len(every.layers)) == (1, 3)
    torch.testing.assert_close(last.last.mask_logits, every.last.mask_logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(last.last.class_logits, every.last.class_logits, atol=1e-4, rtol=1e-4)


def test_losses_of_all_layers_reach_every_parameter():
    head, rows = tiny_generator().train(), text(1, 3, 2)
    losses = head.loss(head(pyramid(), *rows), [halves(0, 2), halves(1)])
    assert set(losses) == {f'loss_{k}{s}' for k in ('ce', 'mask', 'dice') for s in ('', '_0', '_1')}
    total(losses).backward()
    assert not [name for name, p in head.named_parameters() if p.grad is None]


@pytest.mark.parametrize('labels', [((), ()), ((), (0, 1))], ids=['no segment at all', 'one picture without'])
def test_pictures_without_segments(labels):
    head, rows = tiny_generator().train(), text(1, 1)
    losses = head.loss(head(pyramid(), *rows), [halves(*some) for some in labels])
    total(losses).backward()
    assert all(torch.isfinite(value) for value in losses.values())
    if not any(labels):
        assert losses['loss_mask'] == losses['loss_dice'] == 0 and losses['loss_ce'] > 0
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in head.parameters())


def test_a_single_class():
    head, rows = tiny_generator().train(), text(1)
    out = head(pyramid(), *rows)
    assert out.last.class_logits.shape == (2, 6, 2)
    assert torch.isfinite(total(head.loss(out, [halves(0), halves(0, 0)])))


def test_250_queries_on_a_64_by_64_picture():
    """More queries than pixels of the coarsest levels, and more segments than any of them has pixels."""
    head, rows = tiny_generator(num_queries=250).train(), text(2, 2)
    out = head(pyramid(1, (64, 64)), *rows)
    assert out.last.mask_logits.shape == (1, 250, 16, 16)
    total(head.loss(out, [halves(*[0, 1] * 10, size=(64, 64))])).backward()


def test_1203_prompts():
    head, rows = tiny_generator().eval(), text(*[1] * 1203)
    with torch.no_grad():
        logits = head(pyramid(1), *rows).last.class_logits
    assert logits.shape == (1, 6, 1204) and torch.isfinite(logits).all()


def test_more_segments_than_queries():
    head, rows = tiny_generator(num_queries=2).train(), text(1, 1)
    assert torch.isfinite(total(head.loss(head(pyramid(1), *rows), [halves(0, 1, 0, 1)])))


def test_classes_do_not_disturb_each_other():
    """Another vocabulary changes neither masks nor the logits of the classes that stay."""
    head, features = tiny_generator().eval(), pyramid(1)
    rows, synonyms = text(1, 2, 1)
    with torch.no_grad():
        whole = head(features, rows, synonyms).last
        part = head(features, torch.cat([rows[:3], rows[-1:]]), synonyms[:2]).last
    assert torch.equal(whole.mask_logits, part.mask_logits)
    torch.testing.assert_close(whole.class_logits[..., [0, 1, 3]], part.class_logits)


def test_pixel_features_serve_several_vocabularies():
    head, features = tiny_generator().eval(), pyramid(1)
    pixels, rows = head.pixel_features(features), text(1, 1)
    assert torch.equal(head.decode(pixels, *rows).last.class_logits, head(features, *rows).last.class_logits)


def test_plain_mask2former_with_a_fixed_list():
    head = tiny_generator(num_classes=5).train()
    assert head.open_vocabulary is False
    out = head(pyramid())
    assert out.last.class_logits.shape == (2, 6, 6) and out.proposals.class_embeddings is None
    total(head.loss(out, [halves(4), halves(0, 1)])).backward()


@pytest.mark.parametrize('sizes', [{}, dict(embed_dim=4, num_classes=3)])
def test_either_text_or_a_list(sizes):
    with pytest.raises(ValueError, match='either embed_dim'):
        OpenVocabMask2FormerHead(CHANNELS, **sizes)


def test_text_is_asked_for():
    with pytest.raises(ValueError, match='give it text_rows'):
        tiny_generator()(pyramid())


@pytest.mark.parametrize('size', [(1, 1), (7, 13), (33, 2)])
def test_positions_are_those_of_mmdetection(size):
    from mmdet.models.layers import SinePositionalEncoding

    found = sine_positions(torch.zeros(2, 64, *size))
    assert torch.equal(found, SinePositionalEncoding(32, normalize=True)(None, torch.zeros(1, 64, *size)))


def test_registered_beside_the_host_class():
    assert MODELS.get('OpenVocabMask2FormerHead') is OpenVocabMask2FormerHead


def test_pixel_decoder_stays_in_float32_under_autocast():
    head, features, rows = tiny_generator().train(), pyramid(), text(1, 2)
    plain = head.pixel_features(features)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        pixels = head.pixel_features(features)
        losses = head.loss(head.decode(pixels, *rows), [halves(0), halves(1, 1)])
    assert torch.equal(pixels.mask_features, plain.mask_features)
    total(losses).backward()
    assert all(torch.isfinite(p.grad).all() for p in head.parameters())


def test_converts_to_the_authors_names_and_back():
    head = tiny_generator()
    theirs = convert(head.state_dict(), 'mask2former', inverse=True)
    assert len(theirs) == len(head.state_dict())
    assert 'sem_seg_head.predictor.transformer_cross_attention_layers.1.multihead_attn.in_proj_weight' in theirs
    ours = convert({**theirs, 'void_embedding.weight': torch.zeros(1)}, 'mask2former')
    assert ours.keys() == head.state_dict().keys()


@pytest.mark.parametrize('key', ['backbone.stem.weight', 'sem_seg_head.predictor.surprise.weight'])
def test_files_without_a_known_generator_are_refused(key):
    with pytest.raises(WeightMismatchError, match=key):
        convert({key: torch.zeros(1)}, 'mask2former')


@pytest.mark.slow
def test_on_fake_cuda_up_to_the_matcher():
    head = tiny_generator().train()
    matches = [(torch.tensor([1, 4]), torch.tensor([0, 1])), (torch.tensor([2]), torch.tensor([0]))]
    with fake_cuda() as mode:
        move_to_fake_cuda(head, mode)
        out = head(pyramid(), *text(1, 3, 2))
        targets = [halves(0, 2), halves(1)]
        losses = head.criterion.layer_losses(out.last, targets_on_device(head, targets), matches, 3.0)
        assert {value.device.type for value in losses.values()} == {'cuda'}
        cost = head.criterion.matcher.cost(
            out.last.class_logits[0], out.last.mask_logits[0], targets[0], torch.rand(1, 5, 2)
        )
        assert cost.device.type == 'cuda' and tuple(cost.shape) == (6, 2)


def targets_on_device(head, targets):
    return head.criterion.prepare(targets, head.decoder.norm.weight.device)


@pytest.mark.slow
def test_gradients_on_meta_up_to_the_matcher():
    head = tiny_generator().to('meta').train()
    with meta_device():
        features = [f.requires_grad_() for f in pyramid()]
        out = head(features, *text(1, 3, 2))
        sum(layer.mask_logits.sum() + layer.class_logits.sum() for layer in out.layers).backward()
    assert all(f.grad is not None for f in features)
    assert not [name for name, p in head.named_parameters() if p.grad is None]


def test_learns_two_pictures():
    """Two pictures with other features get other masks and classes within a few steps."""
    head, features, rows = tiny_generator().train(), pyramid(2, (32, 32)), text(1, 1)
    targets = [halves(0, 1, size=(32, 32)), halves(1, size=(32, 32))]
    optimizer = torch.optim.AdamW(head.parameters(), 3e-3)
    torch.manual_seed(0)
    history = []
    for _ in range(25):
        loss = total(head.loss(head(features, *rows), targets))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    assert history[-1] < 0.5 * history[0]
