"""The DenseCLIP segmentor: variants, vocabulary, text cache and construction errors. Numbers are in tests/golden."""

import warnings

import pytest
import torch
from device_safety import segmentation_batch, total_loss
from mmengine.registry import MODELS
from tiny_models import CLASSES, DECODER, EMBED, TEXT, WIDTH, denseclip_config, tiny_denseclip

VARIANTS = {
    'post': dict(),
    'pre': dict(prompting='pre'),
    'none': dict(prompting='none'),
    'no contexts': dict(prompting='none', num_contexts=0),
    'vit': dict(backbone='vit'),
    'any backbone': dict(backbone='any'),
    'open vocabulary': dict(open_vocabulary=True),
    'raw text head': dict(open_vocabulary=True, text_head='raw'),
    'auxiliary head': dict(
        auxiliary_head=dict(
            type='FCNHead', in_channels=12, in_index=0, channels=4, num_convs=1, num_classes=5, norm_cfg=dict(type='BN')
        )
    ),
}


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.mark.parametrize('variant', VARIANTS)
def test_every_learnable_parameter_gets_a_gradient(variant):
    model = tiny_denseclip(**VARIANTS[variant]).train()
    losses = model.loss(*segmentation_batch(2, (64, 64)))
    total_loss(losses).backward()
    without = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not without
    assert ('aux.loss_ce' in losses) is (variant == 'auxiliary head')
    assert {'decode.loss_ce', 'aux_identity.loss_ce'} <= set(losses)


def test_builds_from_the_root_registry_and_from_objects():
    config = denseclip_config()
    by_name = MODELS.build(config)
    by_object = tiny_denseclip(backbone='resnet', text_encoder=by_name.text_encoder, neck=by_name.neck)
    assert by_object.text_encoder is by_name.text_encoder and by_object.neck is by_name.neck


def test_initial_values_follow_the_paper():
    model = tiny_denseclip(num_contexts=8, text_encoder=dict(TEXT, transformer_width=512, transformer_heads=8))
    assert model.contexts.shape == (1, 8, 512)
    assert model.contexts.abs().max() <= 2 and 0.8 < model.contexts.std() < 0.95  # a unit normal cut at two
    assert torch.equal(model.gamma, torch.full((EMBED,), 1e-4))


def test_prompted_text_starts_close_to_clip():
    model = tiny_denseclip().eval()
    match = model.match(torch.randn(1, 3, 64, 64))
    assert torch.nn.functional.cosine_similarity(match.text, match.raw_text, dim=-1).min() > 0.999


def test_text_head_receives_what_it_asks_for():
    model = tiny_denseclip(open_vocabulary=True).eval()
    with torch.no_grad():
        model.gamma.fill_(0.5)
        match = model.match(torch.randn(2, 3, 64, 64))
        for wanted, text in ((True, match.text), ('prompted', match.text), ('raw', match.raw_text)):
            model.text_head = wanted
            assert model._head_inputs(match)[0][0] is text


@torch.no_grad()
def test_text_encoded_once_equals_encoding_per_window_bit_for_bit():
    model = tiny_denseclip(test_cfg=dict(mode='slide', crop_size=(64, 64), stride=(32, 32), keep_logits=True)).eval()
    passes = []
    model.text_encoder.register_forward_hook(lambda *_: passes.append(1))
    inputs, samples = segmentation_batch(1, (96, 128))
    once = model.predict(inputs, samples)[0].seg_logits.data.clone()
    assert len(passes) == 1
    model.class_text.caching = False
    every_time = model.predict(inputs, samples)[0].seg_logits.data
    assert len(passes) == 1 + 6
    assert torch.equal(once, every_time)


def test_a_step_of_the_optimizer_renews_the_text():
    model = tiny_denseclip()
    image = torch.randn(1, 3, 64, 64)
    optimizer = torch.optim.SGD([model.contexts], lr=1.0)
    texts = []
    for _ in range(2):
        model.eval()
        with torch.no_grad():
            texts.append(model.match(image).raw_text)
        total_loss(model.train().loss(*segmentation_batch(1, (64, 64)))).backward()
        optimizer.step()
    assert not torch.equal(*texts)


# --- vocabulary ---------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_open_vocabulary_changes_at_any_time():
    model = tiny_denseclip(open_vocabulary=True).eval()
    inputs, samples = segmentation_batch(1, (64, 64))
    assert not model.closed_set
    for vocabulary, count in (('tree', 1), ('tree; car = automobile', 2), ([f'thing {i}' for i in range(30)], 30)):
        model.set_vocabulary(vocabulary)
        labels = model.predict(inputs, samples)[0].pred_sem_seg.data
        assert labels.dtype == torch.int64 and labels.max() < count
        assert model.num_classes == model.out_channels == count == len(model.dataset_meta['classes'])
    model.set_vocabulary(dict(classes=['tree', 'car'], background='prompts', background_names=['thing']))
    assert model.dataset_meta['classes'] == ('tree', 'car', 'background') and model.num_classes == 3


@torch.no_grad()
def test_classes_are_equivariant():
    model = tiny_denseclip(open_vocabulary=True, test_cfg=dict(keep_logits=True)).eval()
    inputs, samples = segmentation_batch(1, (64, 64))
    order = [3, 0, 4, 1, 2]
    logits = model.predict(inputs, samples)[0].seg_logits.data.clone()
    model.set_vocabulary([CLASSES[i] for i in order])
    torch.testing.assert_close(model.predict(inputs, samples)[0].seg_logits.data, logits[order], rtol=1e-3, atol=1e-3)


def test_closed_set_says_why():
    model = tiny_denseclip()
    assert model.closed_set
    model.set_vocabulary([f'other {name}'[:9] for name in 'abcde'])
    with pytest.raises(ValueError, match='built for 5 classes.*has 2.*PixelTextFPNHead'):
        model.set_vocabulary('wall; sky')


def test_closed_set_keeps_the_order_of_its_classes():
    """Weights know them by their places; the same words in another order would be other classes' names."""
    model = tiny_denseclip()
    with pytest.raises(ValueError, match=f'by their places.*another order: give them as {"; ".join(CLASSES)}'):
        model.set_vocabulary([*CLASSES[1:], CLASSES[0]])
    assert model.vocabulary.names == tuple(CLASSES)
    model.set_vocabulary(['anything', *CLASSES[1:]])


def test_the_palette_is_kept_while_it_fits():
    model = tiny_denseclip(open_vocabulary=True)
    model.dataset_meta = dict(classes=CLASSES, palette=[[0, 0, 0]] * 5)
    model.set_vocabulary('a; b; c; d; e')
    assert len(model.dataset_meta['palette']) == 5
    model.set_vocabulary('a; b')
    assert 'palette' not in model.dataset_meta


# --- construction errors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('overrides', 'message'),
    [
        (dict(vocabulary=CLASSES[:4], decode_head=denseclip_config()['decode_head']), 'num_classes is 5.*has 4'),
        (dict(neck=dict(type='FPN', in_channels=[32, 64, 128, 256], out_channels=12, num_outs=4)), r'give \[32.*261\]'),
        (dict(prompting='pre', context_decoder=DECODER), f'query_dim and out_dim to {WIDTH}'),
        (dict(prompting='pre', num_contexts=0), 'num_contexts >= 1'),
        (dict(prompting='none', context_decoder=DECODER), 'needs no context_decoder'),
        (dict(context_decoder=None), 'needs a context_decoder'),
        (dict(score_fusion='sum'), "'concat', 'expectation', 'none'"),
        (dict(backbone=3), 'config dict'),
    ],
)
def test_mistakes_are_named(overrides, message):
    with pytest.raises((ValueError, TypeError), match=message):
        MODELS.build({**denseclip_config(), **overrides})


def test_a_wrong_normalisation_is_told():
    wrong = dict(type='SegDataPreProcessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
    with pytest.warns(UserWarning, match=r'mean \[123.675.*mean \[122.771'):
        tiny_denseclip(data_preprocessor=wrong)
    right = dict(type='SegDataPreProcessor', mean=[122.77, 116.75, 104.09], std=[68.5, 66.63, 70.32])
    with warnings.catch_warnings():
        warnings.filterwarnings('error', message='.*normalises.*')
        tiny_denseclip(data_preprocessor=right)
