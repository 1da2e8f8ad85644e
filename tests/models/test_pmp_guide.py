"""A prompt guide in a masked decoder: the properties of prompt-guided mask proposals."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from device_safety import meta_device
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_pmp import (
    DIM,
    LAYERS,
    QUERIES,
    SIZE,
    TEXT_DIM,
    Guided,
    awake,
    close,
    guided_decoder,
    random_prompts,
    same,
)

from denseclip.models.heads.mask_head import PixelFeatures
from denseclip.models.heads.pmp import PromptGuide, PromptTokens
from denseclip.models.heads.pmp.guide import POSITIONS

VARIANTS = [dict(position=p) for p in POSITIONS] + [dict(norm='post'), dict(text_update=True), dict(layers=(1, 3))]


@pytest.fixture(params=VARIANTS, ids=str)
def variant(request) -> dict:
    return request.param


@settings(max_examples=8, deadline=None)
@given(
    counts=st.tuples(st.integers(0, 5), st.integers(0, 5)), seed=st.integers(0, 99), position=st.sampled_from(POSITIONS)
)
def test_a_fresh_guide_leaves_the_host_bit_for_bit(counts, seed, position) -> None:
    for update in (False, True):
        model = guided_decoder(asleep=True, position=position, text_update=update)
        assert same(model.run(random_prompts(*counts, seed=seed)), model.run(None))


def test_order_of_prompts_does_not_matter(variant) -> None:
    model, prompts = guided_decoder(**variant), random_prompts(5, 3)
    order = torch.randperm(5, generator=torch.Generator().manual_seed(0))
    shuffled = PromptTokens(prompts.tokens[:, order], prompts.absent[:, order])
    assert close(model.run(shuffled), model.run(prompts))


def test_class_logits_follow_the_rows_of_the_classifier() -> None:
    model, prompts = guided_decoder(), random_prompts(5, 5)
    order = torch.tensor([3, 0, 4, 1, 2])
    rows = torch.cat([model.rows[:-1][order], model.rows[-1:]])
    shuffled = PromptTokens(prompts.tokens[:, order], prompts.absent[:, order])
    plain, moved = model.run(prompts)[-1], model.run(shuffled, rows)[-1]
    assert close(moved.class_logits[..., :-1], plain.class_logits[..., :-1][..., order])
    assert close(moved.class_embeddings, plain.class_embeddings)


@settings(max_examples=10, deadline=None)
@given(extra=st.integers(1, 6), size=st.floats(0, 1e6))
def test_absent_tokens_may_hold_anything(extra, size) -> None:
    model, prompts = guided_decoder(text_update=True), random_prompts(4, 2)
    more = prompts.padded(4 + extra)
    noise = torch.where(more.absent[..., None], size * torch.randn_like(more.tokens), more.tokens)
    assert close(model.run(PromptTokens(noise, more.absent)), model.run(prompts), 1e-6)


def test_repeating_all_prompts_changes_nothing(variant) -> None:
    model, prompts = guided_decoder(**variant), random_prompts(5, 3)
    twice = PromptTokens(prompts.tokens.repeat(1, 2, 1), prompts.absent.repeat(1, 2))
    assert close(model.run(twice), model.run(prompts))


def test_prompts_guide_every_layer_but_the_first_output() -> None:
    model, prompts = guided_decoder(), random_prompts(4, 4)
    prompts.tokens.requires_grad_()
    for index, masks in enumerate(model.masks(prompts)):
        (gradient,) = torch.autograd.grad(masks.square().sum(), prompts.tokens, retain_graph=True, allow_unused=True)
        assert (gradient is not None and bool((gradient != 0).any())) == (index > 0)
    other = model.masks(random_prompts(4, 4, seed=1))
    ours = model.masks(prompts)
    assert torch.equal(ours[0], other[0])
    assert all(not torch.allclose(a, b, atol=1e-3) for a, b in zip(ours[1:], other[1:], strict=True))


def test_only_the_chosen_layers_look_at_text() -> None:
    model = guided_decoder(layers=(2,))
    guided, host = model.masks(random_prompts(3, 3)), model.masks(None)
    assert torch.equal(guided[:3], host[:3]) and not torch.allclose(guided[3], host[3])


def test_images_do_not_see_each_others_prompts(variant) -> None:
    model = guided_decoder(**variant)
    prompts, other = random_prompts(4, 4), random_prompts(4, 4, seed=9)
    mixed = PromptTokens(torch.stack([prompts.tokens[0], other.tokens[1]]), prompts.absent)
    ours, theirs = model.run(prompts), model.run(mixed)
    assert same(ours, theirs, image=0)
    assert not torch.allclose(ours[-1].mask_logits[1], theirs[-1].mask_logits[1])


def test_an_image_without_prompts_gets_the_hosts_masks(variant) -> None:
    model, prompts = guided_decoder(**variant), random_prompts(0, 4)
    guided, host = model.run(prompts), model.run(None)
    assert all(close(a.mask_logits[0], b.mask_logits[0]) for a, b in zip(guided, host, strict=True))
    sum(layer.mask_logits.square().sum() for layer in guided).backward()
    gradients = [p.grad for p in model.guide.parameters() if p.grad is not None]
    assert gradients and all(bool(torch.isfinite(g).all()) for g in gradients)


@settings(max_examples=10, deadline=None)
@given(scale=st.lists(st.floats(1e-3, 1e3), min_size=4, max_size=4))
def test_length_of_a_text_row_does_not_matter(scale) -> None:
    model, prompts = guided_decoder(), random_prompts(4, 4)
    scaled = PromptTokens(prompts.tokens * torch.tensor(scale)[:, None], prompts.absent)
    assert close(model.run(scaled), model.run(prompts))


@pytest.mark.parametrize(('width', 'dim', 'layers', 'count'), [(768, 256, 9, 2_572_800), (512, 256, 6, 1_715_456)])
def test_number_of_parameters(width, dim, layers, count) -> None:
    with torch.device('meta'):
        guide = PromptGuide(width, dim, layers)
    assert sum(p.numel() for p in guide.parameters()) == count
    shared, per_layer = width * dim + dim + 2 * dim, 4 * dim * dim + 4 * dim + 2 * dim + dim
    assert count == shared + layers * per_layer


def test_permuting_queries_permutes_masks(variant) -> None:
    model, prompts = guided_decoder(**variant), random_prompts(4, 2)
    plain = model.masks(prompts)
    order = torch.randperm(QUERIES, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        for embedding in (model.decoder.query_feat, model.decoder.query_embed):
            embedding.weight.copy_(embedding.weight[order].clone())
    assert close(model.masks(prompts), plain[:, :, order])


@settings(max_examples=8, deadline=None)
@given(count=st.integers(0, 9))
def test_outputs_have_the_hosts_structure_for_any_number_of_prompts(count) -> None:
    model = guided_decoder()
    guided, host = model.run(random_prompts(count, count)), model.run(None)
    assert len(guided) == len(host) == LAYERS + 1
    for a, b in zip(guided, host, strict=True):
        assert a.mask_logits.shape == b.mask_logits.shape and a.class_logits.shape == b.class_logits.shape


def test_first_step_moves_the_gates_only() -> None:
    model, prompts = guided_decoder(asleep=True), random_prompts(4, 4)
    target = torch.randn(2, QUERIES, *SIZE, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.SGD(model.guide.parameters(), lr=0.1)

    def step() -> dict[str, bool]:
        optimizer.zero_grad()
        F.mse_loss(model.run(prompts)[-1].mask_logits, target).backward()
        moved = {name: bool((p.grad != 0).any()) for name, p in model.guide.named_parameters()}
        optimizer.step()
        return moved

    assert {name for name, moved in step().items() if moved} == {f'layers.{i}.gamma' for i in range(LAYERS)}
    assert all(step().values())


def test_state_dict_is_lossless() -> None:
    model = guided_decoder(text_update=True)
    fresh = PromptGuide(TEXT_DIM, DIM, LAYERS, 4, text_update=True)
    assert fresh.load_state_dict(model.guide.state_dict()) == ([], [])
    prompts, before = random_prompts(3, 3), model.masks(random_prompts(3, 3))
    model.guide = fresh
    assert torch.equal(model.masks(prompts), before)


def test_text_update_changes_later_layers_and_starts_afresh_in_every_run() -> None:
    model, plain = guided_decoder(text_update=True), guided_decoder()
    plain.guide.load_state_dict({k: v for k, v in model.guide.state_dict().items() if not k.startswith('text_layers')})
    plain.decoder, plain.pixels = model.decoder, model.pixels
    prompts = random_prompts(4, 4)
    ours, theirs = model.masks(prompts), plain.masks(prompts)
    assert torch.equal(ours[:2], theirs[:2]) and not torch.allclose(ours[2], theirs[2])
    bound, rows = model.guide.bind(prompts), torch.ones(5, dtype=torch.long)
    runs = [model.decoder(model.pixels, model.rows, rows, guide=bound).last.mask_logits for _ in range(2)]
    assert torch.equal(*runs)


@pytest.mark.parametrize(
    ('settings_', 'message'),
    [(dict(position='before'), 'after_self'), (dict(layers=(0, 9)), r'0\.\.3'), (dict(layers=()), 'at least one')],
)
def test_impossible_settings_are_named(settings_, message) -> None:
    with pytest.raises(ValueError, match=message):
        PromptGuide(TEXT_DIM, DIM, LAYERS, **settings_)


def test_wrong_sizes_are_named() -> None:
    model = guided_decoder()
    with pytest.raises(ValueError, match='text_dim=24'):
        model.guide.bind(PromptTokens(torch.randn(2, 3, 8), torch.zeros(2, 3, dtype=torch.bool)))
    with pytest.raises(ValueError, match='prompts for 1 images'):
        model.run(random_prompts(3))
    with pytest.raises(ValueError, match='bool'):
        PromptTokens(torch.randn(2, 3, 8), torch.zeros(2, 3))


def trained_loss(model: Guided, prompts: PromptTokens | None, steps: int, good: float = 0.01) -> float:
    """Mean binary cross-entropy of two equal pictures trained towards opposite masks until it is ``good``."""
    alike = [t[:1].expand(2, *t.shape[1:]) for t in (model.pixels.mask_features, *model.pixels.memories)]
    model.pixels = PixelFeatures(alike[0], tuple(alike[1:]))
    mask = (model.pixels.mask_features[0, 0] > 0).float().expand(QUERIES, *SIZE)
    target = torch.stack([mask, 1 - mask])
    synonyms = torch.ones(len(model.rows) - 1, dtype=torch.long)
    optimizer = torch.optim.AdamW([*model.decoder.parameters(), *model.guide.parameters()], lr=3e-3)
    for _ in range(steps):
        guide = model.guide.bind(prompts)
        out = model.decoder(model.pixels, model.rows, synonyms, guide=guide, all_layers=False).last
        loss = F.binary_cross_entropy_with_logits(out.mask_logits, target)
        if loss < good:
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float(loss.detach())


def test_learns_to_give_different_masks_for_different_prompts() -> None:
    """Equal pixels, other prompts, opposite targets: without prompts nothing is better than a coin."""
    assert trained_loss(guided_decoder(asleep=True), None, 40) >= math.log(2) - 1e-4
    assert trained_loss(guided_decoder(asleep=True), random_prompts(3, 3), 300) < 0.01


@pytest.mark.parametrize('norm', ['pre', 'post'])
def test_gradients_reach_all_of_the_guide_on_meta(norm: str) -> None:
    model = guided_decoder(norm=norm, text_update=True)
    with meta_device():
        for module in (model.decoder, model.guide):
            module.to('meta')
        pixels, rows = model.pixels, model.rows.to('meta')
        memories = tuple(memory.to('meta') for memory in pixels.memories)
        prompts = PromptTokens(torch.randn(2, 5, TEXT_DIM), torch.zeros(2, 5, dtype=torch.bool))
        synonyms = torch.ones(5, dtype=torch.long)
        guide = model.guide.bind(prompts)
        out = model.decoder(PixelFeatures(pixels.mask_features.to('meta'), memories), rows, synonyms, guide=guide)
        torch.stack([layer.mask_logits.sum() for layer in out.layers]).sum().backward()
    assert [name for name, p in model.guide.named_parameters() if p.grad is None] == []


def test_finite_under_bfloat16_autocast() -> None:
    model, prompts = guided_decoder(), random_prompts(4, 0)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        masks = model.masks(prompts)
    assert bool(torch.isfinite(masks).all())
    masks.float().square().mean().backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in model.guide.parameters() if p.grad is not None)


def test_attention_loss_is_the_share_of_what_is_there() -> None:
    model, plain = guided_decoder(), random_prompts(4, 4, 3)
    model.pixels = guided_decoder(batch=3).pixels
    present = torch.tensor([[True] * 4, [True, False, False, False], [False] * 4])
    rows, synonyms = model.rows, torch.ones(5, dtype=torch.long)

    def loss(there: torch.Tensor) -> torch.Tensor:
        prompts = PromptTokens(plain.tokens, plain.absent, there)
        guide = model.guide.bind(prompts, watch=True)
        masks = model.decoder(model.pixels, rows, synonyms, guide=guide).last.mask_logits
        assert close(masks, model.masks(plain)[-1])  # watching changes nothing
        return guide.attention_loss()

    assert float(loss(torch.zeros_like(present))) == 0
    all_there = present.clone()
    all_there[1:] = False
    assert float(loss(all_there).detach()) == pytest.approx(0, abs=1e-5)
    value = loss(present)
    assert float(value.detach()) > 0.1
    optimizer = torch.optim.Adam(model.guide.parameters(), lr=1e-2)
    for _ in range(20):
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        value = loss(present)
    assert float(value.detach()) < 0.1
    with pytest.raises(ValueError, match='watch=True'):
        model.guide.bind(plain).attention_loss()


def test_gates_wake_up_all_layers() -> None:
    guide = awake(PromptGuide(TEXT_DIM, DIM, LAYERS, 4))
    assert all(bool((layer.gamma != 0).any()) for layer in guide.layers.values())
