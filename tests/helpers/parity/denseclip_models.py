"""Checks of whole DenseCLIP models: matching, prompting, losses, gradients, and every way of inference."""

from __future__ import annotations

import re

import torch
from torch import Tensor, nn

from denseclip.models.segmentors import DenseCLIP, DenseSegTTAModel
from denseclip.weights import load_into
from denseclip.weights.convert import convert, denseclip

from .authors_config import GivenFeatures, build_model
from .denseclip_modules import expect_state, pad_tokens
from .fixtures import Fixture
from .registry import consumes
from .samples import data_samples, expected_accuracy, plain_sample


def load_model(model: nn.Module, fixture: Fixture, ignore: tuple[str, ...] = ()) -> None:
    """Load a fixture's checkpoint as a user would load an authors' file."""
    state = fixture.state()
    load_into(model, convert(state, 'denseclip'), source=fixture.id, ignore=ignore)


def check_tokens(fixture: Fixture, model: DenseCLIP) -> None:
    texts = fixture.input('texts')
    assert torch.equal(pad_tokens(model.class_text.tokens, texts.shape[1]), texts)


def given_levels(fixture: Fixture, index: int) -> list[Tensor]:
    """Backbone levels up to the one that receives the scores; the others play no part."""
    feature = fixture.input(f'feat{index}')
    return [torch.zeros(0)] * index + [feature]


@consumes('denseclip', 'pixel_text_matching')
@torch.no_grad()
def check_pixel_text_matching(fixture: Fixture) -> None:
    index = fixture.config['score_concat_index']
    embeddings = (fixture.input('global'), fixture.input('map'))
    model = build_model(fixture.config, GivenFeatures([*given_levels(fixture, index), embeddings])).eval()
    load_model(model, fixture, ignore=('decode_head.',))
    check_tokens(fixture, model)
    match = model.match(torch.zeros(0))
    fixture.expect('text_raw', match.raw_text)
    fixture.expect('text_embeddings', match.text)
    fixture.expect('score_map', match.score_map)
    fixture.expect('concat', match.levels[index])


@consumes('denseclip', 'pre_model_prompting')
@torch.no_grad()
def check_pre_model_prompting(fixture: Fixture) -> None:
    config, tokens = fixture.config, fixture.input('tokens')
    width = config['token_width']
    embeddings = (fixture.input('global'), fixture.input('map'))
    authors = dict(
        class_names=[f'class {i}' for i in range(tokens.shape[0])],
        context_length=config['n_text'],
        score_concat_index=0,
        text_encoder=dict(
            context_length=config['n_text'] + config['n_context'],
            vocab_size=config['vocab_size'],
            embed_dim=fixture.tensors['sd.text_encoder.text_projection'].shape[1],
            transformer_width=width,
            transformer_heads=config['text_heads'],
            transformer_layers=config['text_layers'],
        ),
        context_decoder=config['decoder'],
    )
    model = build_model(authors, GivenFeatures([embeddings]), prompting='pre', score_fusion='none').eval()
    load_model(model, fixture, ignore=('decode_head.',))
    model.class_text.tokens = tokens  # the fixture's vocabulary is smaller than the tokenizer's
    contexts = []
    model.context_decoder.register_forward_hook(lambda _, __, out: contexts.append(out))
    match = model.match(torch.zeros(0))
    fixture.expect('contexts', contexts[0])
    fixture.expect('text', match.text)
    fixture.expect('score_map', match.score_map)


def expect_losses(fixture: Fixture, stem: str, losses: dict[str, Tensor], label: Tensor) -> Tensor:
    """Compare all losses and accuracies of a pass; returns the sum of the losses."""
    names = [m.group(1) for m in fixture.outputs(rf'{stem}\.(.+)')]
    assert set(names) == set(losses), f'{fixture.id}: losses {sorted(losses)}, expected {sorted(names)}'
    for name, value in losses.items():
        if name.endswith('acc_seg'):
            expected_accuracy(fixture, f'{stem}.{name}', value, label)
        else:
            fixture.expect(f'{stem}.{name}', value)
    return torch.stack([v for k, v in losses.items() if 'loss' in k]).sum()


@consumes('denseclip', 'any_backbone')
@torch.no_grad()
def check_any_backbone(fixture: Fixture) -> None:
    model = build_model(fixture.config).eval()
    load_model(model, fixture)
    check_tokens(fixture, model)
    image, label = fixture.input('img'), fixture.input('label')
    *stages, (pooled, dense) = model.backbone(image)
    for match in fixture.outputs(r'stage(\d+)'):
        fixture.expect(match.group(), stages[int(match.group(1)) - 1])
    fixture.expect('global', pooled)
    fixture.expect('map', dense)
    fixture.expect('score_map', model.match(image).score_map)
    fixture.expect('head_logits', model.head_logits(image))
    expect_losses(fixture, 'loss', model.loss(image, data_samples(label)), label)


@consumes('denseclip', 'seg_e2e')
def check_end_to_end(fixture: Fixture) -> None:
    model = build_model(fixture.config).eval()
    assert denseclip.is_official(fixture.state())
    load_model(model, fixture)
    check_tokens(fixture, model)
    with torch.no_grad():
        check_forward(fixture, model)
        check_inference(fixture, model)
        check_augmented(fixture, model)
        label = fixture.input('label')
        expect_losses(fixture, 'eval_loss', model.loss(fixture.input('img'), data_samples(label)), label)
    check_training_step(fixture, model)


def check_forward(fixture: Fixture, model: DenseCLIP) -> None:
    image = fixture.input('img')
    match = model.match(image)
    fixture.expect('eval.text_raw', match.raw_text)
    fixture.expect('eval.text_embeddings', match.text)
    fixture.expect('eval.score_map', match.score_map)
    fixture.expect('eval.concat_level', match.levels[model.score_concat_index])
    pyramid = model.neck(match.levels)
    for found in fixture.outputs(r'eval\.neck(\d+)'):
        fixture.expect(found.group(), pyramid[int(found.group(1))])
    fixture.expect('eval.head_logits', model.head_logits(image))
    size = tuple(image.shape[-2:])
    logits = model.encode_decode(image, [plain_sample(size, size).metainfo] * image.shape[0])
    images, _, rows, _ = fixture.tensors['out.eval.logits'].shape
    fixture.expect('eval.logits', logits[:images, :, :rows])


def predict(model: DenseCLIP, image: Tensor, ori_shape: tuple[int, int], flip: bool = False) -> Tensor:
    """Logits of one picture in its original size, (1, K, H, W); the label map by class chunks must agree with them."""
    size = tuple(image.shape[-2:])
    inputs = image.flip(-1) if flip else image
    logits = model.predict(inputs, [plain_sample(size, ori_shape, flip)])[0].seg_logits.data
    model.keep_logits = False
    labels = model.predict(inputs, [plain_sample(size, ori_shape, flip)])[0].pred_sem_seg.data
    model.keep_logits = True
    assert torch.equal(labels, logits.argmax(0, keepdim=True))
    return logits.unsqueeze(0)


def check_inference(fixture: Fixture, model: DenseCLIP) -> None:
    image, ori_shape = fixture.input('img_slide'), tuple(fixture.manifest['ori_shape'])
    assert model.test_cfg.mode == 'slide'
    fixture.expect('slide.logits', predict(model, image, ori_shape))
    fixture.expect('slide.prob_flip', predict(model, image, ori_shape, flip=True).softmax(1))
    model.test_cfg.mode = 'whole'
    fixture.expect('whole.prob', predict(model, image, ori_shape).softmax(1))
    model.test_cfg.mode = 'slide'


def check_augmented(fixture: Fixture, model: DenseCLIP) -> None:
    ori_shape = tuple(fixture.manifest['ori_shape'])
    first, second = fixture.input('img_slide'), fixture.input('img_scale2')
    views = [(first, False), (first.flip(-1), True), (second, False)]
    data = dict(
        inputs=[[view[0]] for view, _ in views],
        data_samples=[[plain_sample(tuple(view.shape[-2:]), ori_shape, flip)] for view, flip in views],
    )
    result = DenseSegTTAModel(module=model).test_step(data)[0]
    fixture.expect('aug.pred', result.pred_sem_seg.data.reshape(ori_shape))
    probabilities = [
        model.predict(view, [plain_sample(tuple(view.shape[-2:]), ori_shape, flip)])[0].seg_logits.data.softmax(0)
        for view, flip in views
    ]
    fixture.expect('aug.prob', torch.stack(probabilities).mean(0, keepdim=True))


def check_training_step(fixture: Fixture, model: DenseCLIP) -> None:
    """Losses, gradients and BatchNorm statistics of one training pass without dropout and drop path."""
    switch_off_randomness(model.train())
    label = fixture.input('label')
    losses = model.loss(fixture.input('img'), data_samples(label))
    expect_losses(fixture, 'train_loss', losses, label)
    torch.stack([v for k, v in losses.items() if 'loss' in k]).sum().backward()
    gradients = {k: p.grad for k, p in model.named_parameters()}
    theirs = {ours: name for name in fixture.state() for ours in convert({name: torch.zeros(())}, 'denseclip')}
    without = sorted(theirs[k] for k, g in gradients.items() if g is None)
    assert without == sorted(fixture.manifest['parameters_without_gradient'])
    by_their_name = {theirs[k]: g for k, g in gradients.items()}
    for match in fixture.outputs(r'train_grad\.(.+)'):
        fixture.expect(match.group(), by_their_name[match.group(1)])
    expect_state(fixture, re.escape('train_after'), model)


def switch_off_randomness(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.p = 0.0
        if hasattr(module, 'drop_rates'):
            module.drop_rates = [0.0] * len(module.drop_rates)
