"""AnoVL as a model: same answer whatever the order and batch, any picture size, named objects."""

from dataclasses import replace

import pytest
import torch
from mmengine.structures import BaseDataElement
from tiny_anomaly import PROMPTS, SIDE, pictures, sample, tiny_clip, tiny_model

from denseclip.clip.anomaly_prompts import PromptSetError
from denseclip.models.anomaly.adaptation import FeatureAdapter

TTA = dict(kind='text', steps=2)
KINDS = {
    'tfa': dict(),
    'tta': dict(adaptation=TTA),
    'tiles': dict(tiles=True, keep_ratio=True, views=False, adaptation=dict(kind='linear', steps=2)),
}


def answers(model, images, samples=None):
    with torch.no_grad():
        results = model.predict(images, samples)
    return [(r.anomaly_map.data, r.pred_score) for r in results]


def same(first, second):
    return all(torch.equal(a[0], b[0]) and a[1] == b[1] for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize('kind', KINDS)
def test_order_and_batch_do_not_change_a_bit(kind):
    model = tiny_model(**KINDS[kind])
    images = pictures(8, SIDE, SIDE + 16 * (kind == 'tiles'))
    together = answers(model, images)
    assert same(together, [a for i in range(8) for a in answers(model, images[i : i + 1])])
    order = torch.randperm(8, generator=torch.Generator().manual_seed(1))
    assert same([together[i] for i in order], answers(model, images[order]))
    torch.manual_seed(99)
    assert same(together, answers(tiny_model(**KINDS[kind]), images))
    assert len({score for _, score in together}) == 8


def test_global_random_state_is_left_alone():
    model = tiny_model(adaptation=TTA)
    before = torch.random.get_rng_state()
    answers(model, pictures(1))
    assert torch.equal(before, torch.random.get_rng_state())


def test_adaptation_changes_maps_but_not_scores():
    images = pictures(2)
    plain, adapted = answers(tiny_model(), images), answers(tiny_model(adaptation=TTA), images)
    for (map0, score0), (map1, score1) in zip(plain, adapted, strict=True):
        assert score0 == score1 and not torch.allclose(map0, map1, atol=1e-6)


def test_the_authors_carry_over_depends_on_the_order():
    carried = dict(adaptation=dict(**TTA, carry_over=True))
    images = pictures(2)
    forward = answers(tiny_model(**carried), images)
    backward = answers(tiny_model(**carried), images.flip(0))
    assert not torch.equal(forward[0][0], backward[1][0])
    model = tiny_model(**carried)
    again = answers(model, images)
    assert same(forward, again)
    model.set_object('bottle', defects='scratch')  # other prompts, another adapter
    answers(model, images)
    model.set_object('bottle')
    model.adaptation.reset()
    assert same(forward, answers(model, images))


def test_it_works_under_inference_mode():
    model, images = tiny_model(adaptation=TTA), pictures(1)
    expected = answers(tiny_model(adaptation=TTA), images)
    with torch.inference_mode():
        result = model.predict(images.clone())
    assert torch.equal(result[0].anomaly_map.data, expected[0][0])


@pytest.mark.parametrize('size', [(64, 32), (32, 128), (128, 32), (40, 71), (32, 32)])
@pytest.mark.parametrize('tiles', [True, False])
def test_any_aspect_ratio(size, tiles):
    model = tiny_model(tiles=tiles, keep_ratio=True, views=False)
    ((pixels, score),) = answers(model, pictures(1, *size))
    assert pixels.shape == (1, *size) and torch.isfinite(pixels).all() and 0 < score < 1


@pytest.mark.parametrize(
    ('original', 'keep_ratio', 'expected'),
    [
        ((700, 900), False, (32, 32)),
        ((50, 61), True, (32, 39)),
        ((61, 50), True, (39, 32)),
        ((100, 400), True, (32, 128)),
        ((6000, 400), True, (480, 32)),
        ((5, 5), True, (32, 32)),
    ],
)
def test_input_shape(original, keep_ratio, expected):
    assert tiny_model(keep_ratio=keep_ratio).input_shape(*original) == expected


@pytest.mark.parametrize('keep_ratio', [False, True])
def test_a_picture_of_6000_pixels(keep_ratio):
    model = tiny_model(keep_ratio=keep_ratio, tiles=keep_ratio, views=False)
    shape = model.input_shape(400, 6000)
    given = sample(ori_shape=(400, 6000), img_shape=shape)
    ((pixels, _),) = answers(model, pictures(1, *shape), [given])
    assert pixels.shape == (1, 400, 6000) and torch.isfinite(pixels).all()


def test_pass_size_only_bounds_memory():
    images = pictures(1, 32, 100)
    whole, parts = (answers(tiny_model(tiles=True, pass_size=n), images)[0] for n in (64, 3))
    assert torch.allclose(whole[0], parts[0], atol=1e-6) and abs(whole[1] - parts[1]) < 1e-6


def test_maps_have_the_files_size_or_the_inputs():
    given = [sample(ori_shape=(50, 70), img_shape=(32, 32))]
    assert answers(tiny_model(), pictures(1), given)[0][0].shape == (1, 50, 70)
    assert answers(tiny_model(map_size='input'), pictures(1), given)[0][0].shape == (1, 32, 32)
    with pytest.raises(ValueError, match='original, input'):
        tiny_model(map_size='file')


def test_the_data_preprocessor_normalises_turns_and_its_padding_is_cut_off():
    model = tiny_model(views=False)
    images = [
        torch.randint(0, 256, (3, 32, 48), dtype=torch.uint8),
        torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8),
    ]
    samples = [sample(img_shape=tuple(i.shape[1:]), ori_shape=tuple(i.shape[1:])) for i in images]
    results = model.test_step(dict(inputs=images, data_samples=samples))
    for image, result in zip(images, results, strict=True):
        mean, std = (torch.tensor(v)[:, None, None] for v in (model.preprocess.mean, model.preprocess.std))
        alone = answers(model, ((image.flip(0) / 255 - mean) / std)[None])
        assert torch.allclose(result.anomaly_map.data, alone[0][0], atol=1e-6)
        assert isinstance(result, BaseDataElement) and abs(result.pred_score - alone[0][1]) < 1e-6


def test_wrong_normalisation_is_told():
    with pytest.warns(UserWarning, match='trained with mean'):
        tiny_model(data_preprocessor=dict(type='ImgDataPreprocessor', mean=[0, 0, 0], std=[1, 1, 1]))


def test_objects_are_named_by_sample_model_or_category():
    model = tiny_model(object_name=None, views=False)
    image = pictures(1)
    with pytest.raises(ValueError, match="set_object\\('metal nut'\\)"):
        model.predict(image)
    by_category = answers(model, image, [sample(category='cable')])
    assert same(by_category, answers(model, image, [sample(object_name='cable', category='x')]))
    model.set_object('bottle')
    assert not same(by_category, answers(model, image, [sample(category='cable')]))
    assert same(by_category, answers(model, image, [sample(object_name='cable')]))


def test_own_defect_words_and_domains_change_the_result():
    model, image = tiny_model(views=False), pictures(1)
    plain = answers(model, image)
    prompts = model.set_object('bottle', defects='scratch; dent')
    assert any('with dent' in p for p in prompts.abnormal)
    with_defects = answers(model, image)
    model.set_object('bottle', domain='texture')
    other_domain = answers(model, image)
    assert not same(plain, with_defects) and not same(plain, other_domain)
    model.set_object('bottle')
    assert same(plain, answers(model, image))
    with pytest.raises(PromptSetError, match='industrial, texture, photo'):
        model.set_object('bottle', domain='sea')
    assert model.domain is None


def test_text_is_encoded_once_until_the_weights_change(monkeypatch):
    model, calls = tiny_model(views=False), []
    encode = model.text_tower.encode
    monkeypatch.setattr(model.text_tower, 'encode', lambda *a, **k: calls.append(1) or encode(*a, **k))
    answers(model, pictures(3))
    assert len(calls) == 1
    with torch.no_grad():
        next(model.text_tower.parameters()).mul_(2)
    answers(model, pictures(1))
    assert len(calls) == 2


def test_text_is_kept_on_disk(tmp_path, monkeypatch):
    first = tiny_model(text_cache=str(tmp_path), views=False)
    expected = answers(first, pictures(1))
    assert len(list(tmp_path.glob('*.safetensors'))) == 1
    second = tiny_model(text_cache=str(tmp_path), views=False)
    monkeypatch.setattr(second.text_tower, 'encode_tokens', lambda *a: pytest.fail('encoded again'))
    assert same(expected, answers(second, pictures(1)))


def test_the_state_dict_holds_clip_under_its_own_names_and_nothing_trains():
    model = tiny_model(adaptation=TTA)
    answers(model, pictures(1))
    keys = set(model.state_dict())
    assert 'image_tower.visual.proj' in keys and 'text_tower.token_embedding.weight' in keys
    assert all(key.startswith(('image_tower.visual.', 'text_tower.')) for key in keys)
    assert not any(p.requires_grad or p.grad is not None for p in model.parameters())
    assert not model.train().image_tower.training
    with pytest.raises(NotImplementedError, match='not trained'):
        model(pictures(1), [], mode='loss')


def test_settings_that_cannot_be():
    with pytest.raises(ValueError, match='vv, ordinary'):
        tiny_model(attention='qk')
    with pytest.raises(ValueError, match='text, linear'):
        tiny_model(adaptation=dict(kind='mlp'))
    with pytest.raises(ValueError, match='steps >= 1'):
        tiny_model(adaptation=dict(steps=0))
    with pytest.raises(ValueError, match='mode="test"'):
        tiny_model()(pictures(1), mode='test')
    with pytest.raises(TypeError, match='a loaded CLIP'):
        tiny_model(clip='ViT-B-16')


def test_a_clip_can_be_given_as_configuration():
    config = tiny_clip().config
    config = {**config, 'text_cfg': {**config['text_cfg'], 'vocab_size': 49408, 'context_length': 40}}
    model = tiny_model(clip=dict(config=config), views=False)
    assert answers(model, pictures(1))[0][0].shape == (1, 32, 32)
    with pytest.raises(TypeError, match='config goes alone'):
        tiny_model(clip=dict(config=config, model='ViT-B-16'))


@pytest.mark.parametrize('kind', ['text', 'linear'])
def test_the_loss_falls_and_the_adapter_starts_where_it_is_told(kind):
    model = tiny_model(adaptation=dict(kind=kind, steps=30, noise_std=0.5), views=False)
    text = model.text_of('bottle')
    _, tokens = model.embed(pictures(1))
    draws = model.adaptation.draws(tokens, text.prompts)
    same_noise = replace(draws, noise=draws.noise[:1].expand_as(draws.noise))  # else the noise hides the progress
    adapted = model.adaptation(tokens, text, draws=same_noise)
    assert (adapted.losses.diff() < 0).all() and adapted.tokens.shape == tokens.shape
    bound = tokens.shape[-1] ** -0.5
    assert draws.weight.abs().max() <= bound and draws.weight.std() > bound / 3
    assert abs(draws.noise.std() / 0.5 - 1) < 0.05
    fresh = FeatureAdapter(kind, draws.weight, draws.bias, text.prompts)
    assert (adapted.adapter.weight - fresh.weight).abs().max() > 1e-3
    assert len(text.prompts) == 2 * len(model.prompts_of('bottle').normal) and model.prompts == PROMPTS


def test_a_siglip_like_clip_works_the_same():
    trunk = dict(timm_model_name='test_vit', timm_model_pretrained=False, timm_pool='map', timm_proj='none')
    clip = tiny_clip(embed_dim=64, **trunk, image_size=64)
    images = pictures(2, 64, 96)
    together = answers(tiny_model(clip=clip, adaptation=TTA), images)
    assert same(together[1:], answers(tiny_model(clip=clip, adaptation=TTA), images[1:]))
    ordinary = answers(tiny_model(clip=clip, attention='ordinary'), images)
    assert together[0][0].shape == (1, 64, 96) and together[0][1] == ordinary[0][1]
    assert not torch.allclose(together[0][0], ordinary[0][0])
