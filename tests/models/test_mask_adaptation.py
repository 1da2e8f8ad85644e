"""Adaptation of CLIP to masked pictures: what learns, what the masks do, and what is exported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from device_safety import fake_cuda, meta_device, move_to_fake_cuda, total_loss
from mmengine.config import Config
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.structures import BaseDataElement
from torch import Tensor
from torch import distributed as dist

from denseclip.clip.loading import load_clip
from denseclip.engine.sharding import _kept_whole
from denseclip.models.pretraining import MaskAdaptedCLIP
from denseclip.models.pretraining.export import export_adapted_clip
from denseclip.models.pretraining.prompt_files import read_mask_prompts
from denseclip.models.region_classifier import PROMPTS_FILE, RegionClassifier
from denseclip.weights import load_into
from denseclip.weights.convert import convert

ROOT = Path(__file__).parents[2]
ARCH = dict(
    embed_dim=16,
    vision_cfg=dict(image_size=32, patch_size=8, layers=3, width=32, head_width=8),
    text_cfg=dict(width=16, heads=2, layers=1),
)
NOUNS = ('dog', 'cat', 'dog')


def tiny(train: str = 'both', **options: Any) -> MaskAdaptedCLIP:
    torch.manual_seed(0)
    model = MaskAdaptedCLIP(dict(model='ViT-B-16', arch=ARCH), train=train, **options)
    if model.mask_embedding is not None:
        model.mask_embedding.data.normal_()
    return model


def batch(masks: bool = True) -> tuple[Tensor, list[BaseDataElement]]:
    samples = []
    for noun in NOUNS:
        info = dict(caption=f'a photo of a {noun}', caption_group=noun, gt_label=NOUNS.index(noun), img_path='x.jpg')
        sample = BaseDataElement(metainfo=info)
        if masks:
            mask = torch.zeros(32, 32, dtype=torch.bool)
            mask[:17] = True
            sample.set_data(dict(region_mask=mask))
        samples.append(sample)
    return torch.randn(len(NOUNS), 3, 32, 32), samples


def learned(model: MaskAdaptedCLIP) -> set[str]:
    inputs, samples = batch()
    model(inputs, samples, mode='loss')['loss'].backward()
    return {name for name, p in model.named_parameters() if p.grad is not None and bool(p.grad.abs().sum() > 0)}


def test_each_setting_trains_its_own_parts() -> None:
    image = {f'clip.visual.{name}' for name, _ in tiny().clip.visual.named_parameters()}
    assert learned(tiny('image')) == image | {'clip.logit_scale'}
    assert learned(tiny('prompts', prompt_depth=2)) == {'mask_embedding', 'clip.logit_scale'}
    assert learned(tiny('prompts', train_scale=False)) == {'mask_embedding'}
    assert learned(tiny('both')) == image | {'mask_embedding', 'clip.logit_scale'}


def test_masks_matter_only_with_prompts_and_only_where_blank() -> None:
    inputs, samples = batch()
    model = tiny('prompts').eval()
    with_masks, without = model(inputs, samples), model(inputs)
    assert not torch.allclose(with_masks, without)
    whole = torch.ones(len(NOUNS), 32, 32, dtype=torch.bool)
    torch.testing.assert_close(model.embed(inputs, whole), without)
    plain = tiny('image').eval()
    torch.testing.assert_close(plain(inputs, samples), plain(inputs))
    torch.testing.assert_close(plain(inputs), without)


def test_equal_nouns_are_negatives_or_not() -> None:
    inputs, samples = batch()
    paper, ours = tiny('image'), tiny('image', negatives='other_nouns')
    assert paper(inputs, samples, mode='loss')['loss'] > ours(inputs, samples, mode='loss')['loss']


@pytest.mark.parametrize('distributed', [False, True])
def test_training_keeps_the_scale_in_its_range(tmp_path: Path, distributed: bool) -> None:
    model: Any = tiny('prompts').train()
    model.clip.logit_scale.data.fill_(7.0)
    wrapped = model
    if distributed:
        dist.init_process_group('gloo', init_method=f'file://{tmp_path}/group', rank=0, world_size=1)
    try:
        if distributed:
            wrapped = MMDistributedDataParallel(model)
        trained = [p for p in model.parameters() if p.requires_grad]
        optim_wrapper = OptimWrapper(torch.optim.SGD(trained, lr=0.1))
        inputs, samples = batch()
        data = dict(inputs=list(inputs), data_samples=samples)
        scales = [float(wrapped.train_step(data, optim_wrapper)['scale']) for _ in range(2)]
    finally:
        if distributed:
            dist.destroy_process_group()
    assert scales[0] == pytest.approx(100.0, rel=1e-5)
    # Within the range the scale learns again; above it there was no gradient that could have brought it back.
    assert model.clip.logit_scale.item() < 4.7
    model.clip.logit_scale.data.fill_(7.0)
    assert model.state_dict()['clip.logit_scale'].item() == pytest.approx(4.60517)


def test_sentences_are_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny('image')
    first = model.sentences(['a dog', 'a cat', 'a dog'])
    torch.testing.assert_close(first[0], first[2])
    monkeypatch.setattr(type(model.loaded[0].text_tower()), 'encode', None)
    torch.testing.assert_close(model.sentences(['a cat']), first[1:2])


def test_sentences_have_the_same_bits_in_any_company() -> None:
    """What a resumed run meets in other batches than the run that was stopped."""
    arch = {**ARCH, 'text_cfg': dict(width=128, heads=4, layers=2)}
    model = MaskAdaptedCLIP(dict(model='ViT-B-16', arch=arch), train='image')
    titles = ['a dog', 'a red bar and a blue thing beside it', 'road', 'a hill and what is far away behind it']
    together = model.sentences(titles)
    model.weights_changed()  # forgets them
    alone = [model.sentences([title])[0] for title in reversed(titles)]
    assert torch.equal(together, torch.stack(alone[::-1]))


@pytest.mark.parametrize('train', ['image', 'prompts'])
def test_a_frozen_text_tower_stays_whole_in_every_process(train: str) -> None:
    """Each of them has other new sentences: nobody may have to wait for the others to encode one."""
    model = tiny(train)
    kept = set(_kept_whole(model))
    text = {n: p for n, p in model.clip.named_parameters() if not n.startswith('visual.') and p.ndim}
    assert text and kept.issuperset(text.values())
    assert kept.isdisjoint(model.clip.visual.parameters())


def test_prediction_scores_the_classes_of_any_vocabulary() -> None:
    model = tiny('prompts', vocabulary='dog; cat').eval()
    inputs, samples = batch()
    for names in ('dog; cat', 'dog', 'bird; dog; cat; car'):
        model.set_vocabulary(names)
        results = model(inputs, samples, mode='predict')
        rows = torch.stack([r.region_scores for r in results])
        assert rows.shape == (3, len(names.split(';'))) and bool((rows.abs() <= 1.0001).all())
        assert [int(r.pred_label) for r in results] == rows.argmax(dim=1).tolist()


def test_errors_say_what_to_do() -> None:
    inputs, samples = batch(masks=False)
    with pytest.raises(ValueError, match='CutRegion or RecoverMask'):
        tiny('prompts')(inputs, samples, mode='loss')
    with pytest.raises(ValueError, match='PackRegion'):
        tiny('image')(inputs, None, mode='loss')
    with pytest.raises(ValueError, match='set_vocabulary'):
        tiny('image')(inputs, samples, mode='predict')
    with pytest.raises(ValueError, match="train='text' is unknown; choose from image, prompts, both, coupled"):
        tiny('text')
    resnet = dict(embed_dim=16, vision_cfg=dict(image_size=32, layers=[1, 1, 1, 1], width=8), text_cfg=ARCH['text_cfg'])
    with pytest.raises(ValueError, match='vision transformer'):
        MaskAdaptedCLIP(dict(model='RN50', arch=resnet), train='prompts')


def test_the_exported_folder_gives_the_same_embeddings(tmp_path: Path) -> None:
    inputs, samples = batch()
    model = tiny('both').eval()
    export_adapted_clip(model, tmp_path, half=False)
    prompts = read_mask_prompts(tmp_path)
    assert prompts is not None and torch.equal(prompts, model.mask_embedding)
    again = MaskAdaptedCLIP(dict(model=f'local-dir:{tmp_path}'), train='prompts').eval()
    torch.testing.assert_close(again(inputs, samples), model(inputs, samples))
    classifier = RegionClassifier(dict(model=f'local-dir:{tmp_path}'))
    assert torch.equal(classifier.mask_embedding, model.mask_embedding)
    assert load_clip(f'local-dir:{tmp_path}').preprocess == model.loaded[0].preprocess
    with pytest.raises(ValueError, match='mask prompts of'):
        MaskAdaptedCLIP(dict(model=f'local-dir:{tmp_path}'), train='prompts', prompt_depth=2)
    export_adapted_clip(tiny('image'), tmp_path)
    assert read_mask_prompts(tmp_path) is None and not (tmp_path / PROMPTS_FILE).exists()


def test_conversion_to_the_authors_layout_and_back() -> None:
    model, other = tiny('both'), tiny('both')
    theirs = convert(model.state_dict(), 'mask_adapted_clip', inverse=True)
    assert all(key.startswith('module.') for key in theirs) and 'module.visual.mask_embedding' in theirs
    other.mask_embedding.data.zero_()
    load_into(other, convert(theirs, 'mask_adapted_clip'), source='test')
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), other.state_dict().values(), strict=True))
    assert 'mask_embedding' not in convert(theirs, 'mask_adapted_clip', prompts=False)


@pytest.mark.parametrize('name', ['ft', 'joint'])
def test_vectors_and_norms_do_not_decay(name: str) -> None:
    config = Config.fromfile(ROOT / f'configs/adapted_clip/adapt-{name}_vit-l14_5e_cococaptions-224x224.py')
    model = tiny(config.model.train)
    wrapper: Any = build_optim_wrapper(model, config.optim_wrapper)
    groups = {id(p): group for group in wrapper.optimizer.param_groups for p in group['params']}
    for key, p in model.named_parameters():
        if p.requires_grad:
            free = p.ndim < 2 or any(word in key for word in ('bn', 'ln', 'bias', 'logit_scale', 'mask_embedding'))
            assert groups[id(p)]['weight_decay'] == (0.0 if free else 0.2), key
            assert groups[id(p)]['lr'] == pytest.approx(0.05 if key == 'mask_embedding' else 5e-6), key


@pytest.mark.slow
@pytest.mark.parametrize('train', ['image', 'prompts', 'both', 'coupled'])
def test_devices(train: str) -> None:
    deep = dict(deep_prompts=dict(length=2, depth=1)) if train == 'coupled' else {}
    model = tiny(train, vocabulary='dog; cat', **deep).train()
    with fake_cuda() as mode:
        move_to_fake_cuda(model, mode)
        inputs, samples = batch()
        assert total_loss(model(inputs, samples, mode='loss')).device.type == 'cuda'
        with torch.no_grad():
            assert model.eval()(inputs, samples, mode='predict')[0].region_scores.device.type == 'cuda'
    model = tiny(train, **deep).to('meta').train()
    with meta_device():
        loss = total_loss(model(*batch(), mode='loss'))
        loss.backward()
        assert not [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
