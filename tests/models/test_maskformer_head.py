"""The open-vocabulary MaskFormer head."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from device_safety import fake_cuda, meta_device, move_to_fake_cuda
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.models.layers import DetrTransformerDecoder
from mmengine.structures import InstanceData
from torchvision.ops import sigmoid_focal_loss

from denseclip.models.heads.mask_head import LayerPrediction
from denseclip.models.heads.maskformer import MaskFormerCriterion, OpenVocabMaskFormerHead, WholeMaskMatcher
from denseclip.models.heads.maskformer.matcher import FocalMaskCost
from denseclip.models.heads.maskformer.transformer import Decoder

CHANNELS = [4, 6, 8, 10]
SMALL = dict(
    feat_channels=32, mask_dim=8, dim=16, num_queries=5, num_heads=2, ffn_dim=24, decoder_layers=3, embed_hidden_dim=12
)


def head(**changes) -> OpenVocabMaskFormerHead:
    torch.manual_seed(0)
    made = OpenVocabMaskFormerHead(CHANNELS, 7, **{**SMALL, **changes})
    made.pixel_decoder.init_weights()
    made.predictor.init_weights()
    return made.eval()


def stages(batch: int = 2):
    return [torch.randn(batch, c, 16 >> i, 24 >> i) for i, c in enumerate(CHANNELS)]


def text(names: int = 4):
    return F.normalize(torch.randn(names + 1, 7), dim=-1), torch.tensor([1, names - 1])


class Recorder:
    """A guide that notes what it is asked, and changes the queries where it is told to."""

    def __init__(self, change: tuple[int, str] | None = None) -> None:
        self.asked: list[tuple[int, str]] = []
        self.change = change

    def __call__(self, layer, position, queries, query_pos):
        assert query_pos.shape == queries.shape[1:]
        self.asked.append((layer, position))
        return queries + 1 if (layer, position) == self.change else queries


@pytest.mark.parametrize('pre_norm', [False, True])
def test_guide_is_asked_in_order_and_changes_nothing_by_itself(pre_norm: bool) -> None:
    model, maps, rows = head(pre_norm=pre_norm), stages(), text()
    with torch.no_grad():
        plain = model(maps, *rows, all_layers=True)
        guide = Recorder()
        guided = model(maps, *rows, guide, all_layers=True)
    order = ('after_self', 'before_image', 'after_image')
    assert guide.asked == [(layer, position) for layer in range(3) for position in order]
    for one, other in zip(plain.layers, guided.layers, strict=True):
        assert torch.equal(one.mask_logits, other.mask_logits) and torch.equal(one.class_logits, other.class_logits)


@pytest.mark.parametrize('position', ['after_self', 'before_image', 'after_image'])
def test_guide_steers_its_layer_and_those_behind(position: str) -> None:
    model, maps, rows = head(), stages(), text()
    with torch.no_grad():
        plain = model(maps, *rows, all_layers=True).layers
        guided = model(maps, *rows, Recorder((1, position)), all_layers=True).layers
    same = [torch.equal(a.mask_logits, b.mask_logits) for a, b in zip(plain, guided, strict=True)]
    assert same == [True, False, False]


def test_decoder_is_mmdets() -> None:
    """Post-norm, with dropout off: MMDet's decoder with the same weights."""
    torch.manual_seed(0)
    ours = Decoder(2, 16, 2, 24, 0.0, False).eval()
    attention = dict(embed_dims=16, num_heads=2, dropout=0.0)
    layer = dict(
        self_attn_cfg={**attention}, cross_attn_cfg={**attention}, ffn_cfg=dict(embed_dims=16, feedforward_channels=24)
    )
    theirs = DetrTransformerDecoder(2, layer).eval()
    names = {'self_attn.': 'self_attn.attn.', 'multihead_attn.': 'cross_attn.attn.', 'linear1.': 'ffn.layers.0.0.'}
    names |= {'linear2.': 'ffn.layers.1.', 'norm1': 'norms.0', 'norm2': 'norms.1', 'norm3': 'norms.2'}
    state = {}
    for key, value in ours.state_dict().items():
        new = 'post_norm.' + key.removeprefix('norm.') if key.startswith('norm.') else key
        for old, name in names.items() if key.startswith('layers.') else ():
            new = new.replace(old, name)
        state[new] = value
    theirs.load_state_dict(state)
    positions, memory, places = torch.randn(5, 16), torch.randn(2, 6, 16), torch.randn(1, 6, 16)
    with torch.no_grad():
        found = ours(positions, memory, places)
        queries = positions.expand(2, -1, -1)
        wanted = theirs(torch.zeros_like(queries), memory, memory, queries, places.expand(2, -1, -1), None)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ('changes', 'memory'),
    [
        ({}, 10),
        ({'memory': 1}, 6),
        ({'memory': 'mask_features'}, 8),
        ({'pixel_encoder_layers': 1}, 32),
        ({'pixel_encoder_layers': 1, 'memory': -1}, 10),
        ({'encoder_layers': 1, 'pre_norm': True}, 10),
    ],
)
def test_memories(changes: dict, memory: int) -> None:
    model = head(**changes)
    pixels = model.pixel_features(stages())
    assert pixels.memories[0].shape[1] == memory
    found = model.decode(pixels, *text(), all_layers=False)
    assert found.last.mask_logits.shape == (2, 5, 16, 24) and found.last.class_logits.shape == (2, 5, 3)


def test_wrong_memories_are_named() -> None:
    for memory in ('encoder', 'other', 4):
        with pytest.raises(ValueError, match='memory='):
            head(memory=memory)


def test_best_name_of_a_class_counts() -> None:
    model, maps = head(), stages(1)
    rows, names = text(4)
    one_by_one = torch.ones(4, dtype=torch.long)
    with torch.no_grad():
        single = model(maps, rows, one_by_one).last.class_logits
        merged = model(maps, rows, names).last.class_logits
    torch.testing.assert_close(merged[..., 1], single[..., 1:4].amax(-1))
    torch.testing.assert_close(merged[..., 2], single[..., 4])


# --- criterion --------------------------------------------------------------------------------------------------------


def target(*labels: int, size=(8, 8)) -> InstanceData:
    masks = torch.zeros(len(labels), *size, dtype=torch.bool)
    for place, mask in enumerate(masks):
        mask[place :: len(labels)] = True
    return InstanceData(labels=torch.tensor(labels, dtype=torch.long), masks=masks)


def prediction(batch: int, classes: int = 3, queries: int = 4, seed: int = 0) -> LayerPrediction:
    torch.manual_seed(seed)
    logits = torch.randn(batch, queries, classes + 1, requires_grad=True)
    return LayerPrediction(torch.randn(batch, queries, 4, 4, requires_grad=True), logits)


@pytest.mark.parametrize('targets', [[target(), target()], [target(), target(1)], [target(0, 1, 2), target(2)]])
def test_pictures_without_targets_train_the_classes(targets: list[InstanceData]) -> None:
    layers = [prediction(2), prediction(2, seed=1)]
    losses = MaskFormerCriterion()(layers, targets)
    assert set(losses) == {f'loss_{kind}{end}' for kind in ('ce', 'mask', 'dice') for end in ('', '_0')}
    torch.stack(list(losses.values())).sum().backward()
    for layer in layers:
        assert layer.class_logits.grad.abs().sum() > 0 and torch.isfinite(layer.mask_logits.grad).all()
        assert bool(layer.mask_logits.grad.abs().sum() > 0) is any(len(t.labels) for t in targets)


def test_right_predictions_cost_little() -> None:
    wanted = target(1, 0, size=(4, 4))
    masks = torch.full((1, 3, 4, 4), -30.0)
    logits = torch.tensor([[[0.0, 0, 30], [30, 0, 0], [0, 30, 0]]])  # nothing, class 0, class 1
    masks[0, 1], masks[0, 2] = wanted.masks[1] * 60.0 - 30, wanted.masks[0] * 60.0 - 30
    losses = MaskFormerCriterion()([LayerPrediction(masks, logits)], [wanted])
    assert max(float(value) for value in losses.values()) < 1e-4


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 999), st.sampled_from([1.0, 10.0, 100.0]))
def test_focal_costs_are_the_mean_focal_losses_of_pairs_however_sure(seed: int, scale: float) -> None:
    torch.manual_seed(seed)
    logits, true = scale * torch.randn(3, 4, 5), torch.rand(2, 4, 5) < 0.5
    found = FocalMaskCost(2.0)(InstanceData(masks=logits), InstanceData(masks=true))
    pairs = [[sigmoid_focal_loss(a, b.float(), 0.25, 2.0, 'mean') for b in true] for a in logits]
    torch.testing.assert_close(found, 2 * torch.tensor(pairs))


def test_more_targets_than_queries() -> None:
    losses = MaskFormerCriterion()([prediction(1, queries=2)], [target(0, 1, 2)])
    assert all(torch.isfinite(value) for value in losses.values())


def test_targets_are_counted_exactly_in_half_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = []
    criterion = MaskFormerCriterion()
    monkeypatch.setattr(criterion, 'layer_losses', lambda layer, targets, matches, count: counts.append(count) or {})
    half = dict(dtype=torch.bfloat16)
    layer = LayerPrediction(torch.zeros(1, 3, 2, 2, **half), torch.zeros(1, 3, 2, **half), torch.zeros(1, 3, 7, **half))
    criterion([layer], [InstanceData(labels=torch.zeros(259, dtype=torch.long), masks=torch.ones(259, 4, 4))])
    assert counts[0].item() == 259


def test_values_that_are_not_finite_are_named() -> None:
    layer = prediction(1)
    broken = LayerPrediction(layer.mask_logits * float('nan'), layer.class_logits)
    with pytest.raises(FloatingPointError, match='not finite'):
        MaskFormerCriterion()([broken], [target(1)])


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 999), st.lists(st.integers(0, 2), min_size=0, max_size=3, unique=True), st.integers(1, 3))
def test_layers_matched_together_are_matched_as_alone(seed: int, labels: list[int], layers: int) -> None:
    matcher, targets = WholeMaskMatcher(), [target(*labels), target(0)]
    made = [prediction(2, seed=seed + i) for i in range(layers)]
    logits, masks = torch.stack([p.class_logits for p in made]), torch.stack([p.mask_logits for p in made])
    together = matcher(logits, masks, targets)
    for number, found in enumerate(together):
        alone = matcher(logits[number : number + 1], masks[number : number + 1], targets)[0]
        for (queries, segments), (others, others_segments) in zip(found, alone, strict=True):
            assert torch.equal(queries, others) and torch.equal(segments, others_segments)
            assert len(set(queries.tolist())) == len(queries) == min(len(segments), 4)


# --- devices ----------------------------------------------------------------------------------------------------------


def fixed_matches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything but the assignment itself, which needs values."""

    def match(self, class_logits, mask_logits, targets):
        for number, wanted in enumerate(targets):
            assert self.cost(class_logits[:, number], mask_logits[:, number], wanted).device == mask_logits.device
        pairs = [(torch.arange(len(t.labels), device='cpu'),) * 2 for t in targets]
        return [pairs] * len(class_logits)

    monkeypatch.setattr(WholeMaskMatcher, '__call__', match)


def loss_of(model: OpenVocabMaskFormerHead) -> torch.Tensor:
    targets = [InstanceData(labels=torch.zeros(2, dtype=torch.long), masks=torch.zeros(2, 64, 96, dtype=torch.bool))]
    rows = F.normalize(torch.randn(5, 7), dim=-1)
    losses = model.loss(model(stages(2), rows, torch.ones(4, dtype=torch.long)), targets * 2)
    return torch.stack(list(losses.values())).sum()


@pytest.mark.slow
@pytest.mark.parametrize('changes', [{}, {'pixel_encoder_layers': 1, 'pre_norm': True}])
def test_device_safety(changes: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    fixed_matches(monkeypatch)
    model = head(**changes).train()
    with fake_cuda() as mode:
        move_to_fake_cuda(model, mode)
        assert loss_of(model).device.type == 'cuda'
    model = head(**changes).to('meta').train()
    with meta_device():
        loss_of(model).backward()
        assert not [name for name, p in model.named_parameters() if p.grad is None]
