"""Every model that takes CLIP's weights: no way of loading a checkpoint leaves them random."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from mmengine.registry import init_default_scope
from mmengine.runner.checkpoint import load_state_dict
from tiny_anomaly import PROMPTS
from tiny_anomaly import TEXT as ANOMALY_TEXT
from tiny_anomaly import VISION as ANOMALY_VISION
from tiny_dinoiser import CLIP as DINOISER_CLIP
from tiny_dinoiser import tiny_dinoiser, tiny_maskclip_plus
from tiny_fcclip import TRUNKS, tiny_fcclip
from tiny_models import RESNET, TEXT, VIT
from tiny_open_vocab import ARCH, tiny_open_vocab
from tiny_ovseg import CLIP as OVSEG_CLIP
from tiny_ovseg import REGIONS, tiny_ovseg
from tiny_pmp_hosts import CLIP as HOST_CLIP
from tiny_pmp_hosts import tiny_host
from tiny_two_stage import random_masks, tiny_two_stage
from torch import Tensor

from denseclip.core.lazy_weights import CLIPOwner, LazyWeights
from denseclip.engine.checkpoints import load_weights
from denseclip.models.builder import build_module
from denseclip.models.open_clip_parts import OpenCLIPParts
from denseclip.weights import WeightMismatchError, write_safetensors

VITB = dict(model='ViT-B-16', arch=ARCH)
PLAIN = dict(templates='photo', vocabulary=['sky', 'road'])
NO_PROMPTS = {**REGIONS, 'prompt_depth': 0}
SMALL_TEXT = dict(width=24, heads=4, layers=2)
SMALL_RESNET = dict(layers=[1, 1, 1, 1], width=8, image_size=64, head_width=64)
SMALL_VIT = dict(layers=4, width=32, image_size=64, head_width=8)
DENSECLIP = dict(model='RN50', arch=dict(embed_dim=16, vision_cfg=SMALL_RESNET, text_cfg=SMALL_TEXT))
DENSEVIT = dict(model='ViT-B-16', arch=dict(embed_dim=16, vision_cfg=SMALL_VIT, text_cfg=SMALL_TEXT))


def plainly(kind: str, preset: str = 'maskclip', **settings: Any) -> Callable[[Any], Any]:
    return lambda clip: build_module({'type': kind, **PLAIN, 'clip': {**clip, 'preset': preset}, **settings})


def two_stage(clip: Any) -> Any:
    return build_module(dict(type='TwoStageSegmentor', clip=clip, region_classifier=NO_PROMPTS, **PLAIN))


def student(clip: Any) -> Any:
    teacher = dict(type='OpenVocabularySegmentor', clip={**clip, 'preset': 'maskclip_orig'}, templates='photo')
    return tiny_maskclip_plus(teacher=teacher)


def denseclip_part(config: dict[str, Any], **more: Any) -> Callable[[Any], Any]:
    return lambda clip: build_module({**config, **more, 'model': clip['model'], 'pretrained': clip.get('pretrained')})


MODELS: dict[str, tuple[dict[str, Any], Callable[[Any], Any]]] = {
    'open vocabulary': (VITB, plainly('OpenVocabularySegmentor')),
    'ResCLIP': (VITB, plainly('ResCLIPSegmentor', 'resclip')),
    'CLIP-DINOiser': (DINOISER_CLIP, lambda clip: tiny_dinoiser(teachers=False, clip=clip)),
    'MaskCLIP+': (DINOISER_CLIP, student),
    'FC-CLIP, ViT': (TRUNKS['vit'], lambda clip: tiny_fcclip('FCCLIP', 'vit', clip=clip)),
    'FC-CLIP, ConvNeXt': (TRUNKS['convnext'], lambda clip: tiny_fcclip(clip=clip)),
    'FC-CLIP, ResNet': (TRUNKS['resnet'], lambda clip: tiny_fcclip(clip=clip)),
    'MAFT+': (TRUNKS['convnext'], lambda clip: tiny_fcclip('MAFTPlus', transfer=dict(num_heads=4), clip=clip)),
    'PMP, FC-CLIP': (HOST_CLIP, lambda clip: tiny_host('FCCLIP', clip=clip)),
    'PMP, MAFT+': (HOST_CLIP, lambda clip: tiny_host('MAFTPlus', clip=clip)),
    'PMP, OVSeg': (HOST_CLIP, lambda clip: tiny_host('OVSeg', clip=clip)),
    'PMP, Mask2Former': (HOST_CLIP, lambda clip: tiny_host('Mask2Former', clip=clip)),
    'two stages': (OVSEG_CLIP, two_stage),
    'OVSeg': (OVSEG_CLIP, lambda clip: tiny_ovseg(clip=clip, region_classifier=NO_PROMPTS)),
    'region classifier': (OVSEG_CLIP, lambda clip: build_module(dict(type='RegionClassifier', clip=clip))),
    'DenseCLIP, ResNet': (DENSECLIP, denseclip_part(RESNET, heads=None)),
    'DenseCLIP, ViT': (DENSEVIT, denseclip_part(VIT)),
    'DenseCLIP, text': (DENSECLIP, denseclip_part(TEXT)),
}
FROZEN = [name for name in MODELS if 'MAFT' not in name and 'DenseCLIP' not in name]
ALWAYS_CLIP = [name for name in MODELS if 'DenseCLIP' not in name]


def owners(model: Any) -> list[tuple[str, LazyWeights]]:
    """The modules that watch loading, by their prefixes."""
    found = [(f'{n}.' if n else '', m) for n, m in model.named_modules() if isinstance(m, LazyWeights)]
    return [(name, module) for name, module in found if module.sourced_prefixes]


def clip_tensors(model: Any) -> dict[str, Tensor]:
    """Everything of CLIP that the model holds, named as in its state dict if it were all saved."""
    return {
        prefix + name: owner.get_submodule(name.rpartition('.')[0]).state_dict(keep_vars=True)[name.rpartition('.')[2]]
        for prefix, owner in owners(model)
        for name in owner.sourced_names()
    }


@pytest.fixture(scope='module')
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Builds a model by its name in MODELS; with a source, its CLIP lies in a file of its own."""
    folder = tmp_path_factory.mktemp('clip')

    def build(name: str, source: bool = True, seed: int = 0) -> Any:
        init_default_scope('mmseg')
        clip, make = MODELS[name]
        if source:
            file = folder / f'{name}.safetensors'
            if not file.is_file():
                torch.manual_seed(99)
                write_safetensors(OpenCLIPParts(clip['model'], arch=clip['arch']).clip.model.state_dict(), file)
            clip = {**clip, 'pretrained': str(file)}
        torch.manual_seed(seed)
        return make(clip)

    return build


def right(name: str, built: Callable[..., Any]) -> dict[str, Tensor]:
    """CLIP as the source has it, read by the model's own call for that."""
    model = built(name)
    for _, owner in owners(model):
        owner.need_weights()
    return {key: value.detach().clone() for key, value in clip_tensors(model).items()}


def differing(model: Any, expected: dict[str, Tensor]) -> list[str]:
    """Names of CLIP's tensors that are not as expected."""
    found = clip_tensors(model)
    assert set(found) == set(expected)
    return [key for key in expected if not torch.equal(found[key], expected[key])]


def fresh_again(model: Any) -> Any:
    """The model as if it had just been built, with other random weights of CLIP."""
    for value in clip_tensors(model).values():
        value.data.normal_()
    for _, owner in owners(model):
        owner._has_weights = False
        if isinstance(owner, CLIPOwner):
            owner.parts.has_weights = False
    return model


def without_clip(model: Any) -> dict[str, Tensor]:
    names = set(clip_tensors(model)) | {key for key in model.state_dict() if key.endswith('num_batches_tracked')}
    return {key: value.clone() for key, value in model.state_dict().items() if key not in names}


WAYS: dict[str, Callable[[Any, dict[str, Tensor]], Any]] = {
    'torch, lenient': lambda model, state: model.load_state_dict(state, strict=False),
    'MMEngine': lambda model, state: load_state_dict(model, state, strict=False),
    'suite, lenient': lambda model, state: load_weights(model, state, source='x', strict=False),
}
STRICT: dict[str, Callable[[Any, dict[str, Tensor]], Any]] = {
    'suite, strict': lambda model, state: load_weights(model, state, source='head.pth', strict=True),
    'torch, strict': lambda model, state: model.load_state_dict(state),
}


@pytest.mark.parametrize('name', MODELS)
def test_a_checkpoint_without_clip_gets_the_named_weights(name: str, built: Callable[..., Any]) -> None:
    expected = right(name, built)
    assert expected
    model = built(name, seed=1)
    partial = {key: torch.rand_like(value.float()).to(value.dtype) for key, value in without_clip(model).items()}
    for load in WAYS.values():
        fresh_again(model)
        assert differing(model, expected)
        load(model, dict(partial))
        assert not differing(model, expected)
        assert all(torch.equal(model.state_dict()[key], value) for key, value in partial.items())


@pytest.mark.parametrize('name', FROZEN)
def test_even_a_strict_load_does_without_a_frozen_clip(name: str, built: Callable[..., Any]) -> None:
    expected = right(name, built)
    model = built(name, seed=1)
    partial = without_clip(model)
    for load in STRICT.values():
        load(fresh_again(model), dict(partial))
        assert not differing(model, expected)


@pytest.mark.parametrize('name', ['MAFT+', 'PMP, MAFT+', 'DenseCLIP, ResNet', 'DenseCLIP, text'])
def test_what_was_fine_tuned_is_missed(name: str, built: Callable[..., Any]) -> None:
    model = built(name, seed=1)
    partial = without_clip(model)
    for load in STRICT.values():
        with pytest.raises(RuntimeError, match=r'(?i)missing'):
            load(fresh_again(model), dict(partial))


@pytest.mark.parametrize('name', ALWAYS_CLIP)
def test_without_a_source_the_missing_names_are_told(name: str, built: Callable[..., Any]) -> None:
    model = built(name, source=False)
    names = list(clip_tensors(model))
    for load in (*WAYS.values(), *STRICT.values()):
        with pytest.raises(RuntimeError) as caught:
            load(model, without_clip(model))
        message = str(caught.value)
        assert any(key in message for key in names) and ('lacks' in message or 'issing' in message)


@pytest.mark.parametrize('name', ALWAYS_CLIP)
def test_half_a_clip_is_filled_up_from_the_source(name: str, built: Callable[..., Any]) -> None:
    expected = right(name, built)
    model = built(name, seed=1)
    held = {key: torch.full_like(value, 0.5) for key, value in clip_tensors(model).items()}
    half = dict(list(held.items())[: len(held) // 2])
    load_weights(model, {**without_clip(model), **half}, source='x', strict=False)
    for key, value in clip_tensors(model).items():
        assert torch.equal(value, half.get(key, expected[key]))


@pytest.mark.parametrize('name', ALWAYS_CLIP)
def test_a_clip_in_the_checkpoint_beats_the_source(name: str, built: Callable[..., Any]) -> None:
    model = built(name, seed=1)
    held = {key: torch.full_like(value, 0.5) for key, value in clip_tensors(model).items()}
    load_weights(model, {**without_clip(model), **held}, source='x', strict=False)
    for _, owner in owners(model):
        owner.need_weights()
    assert not differing(model, held)


def test_a_source_that_is_not_there_is_named(built: Callable[..., Any]) -> None:
    model = built('FC-CLIP, ViT')
    model.parts.pretrained = 'lost/clip.safetensors'
    for _ in range(2):  # a failed reading is no reading
        with pytest.raises(FileNotFoundError, match=r'lost/clip\.safetensors'):
            model.load_state_dict(without_clip(model), strict=False)


def test_a_lenient_load_says_where_clip_came_from(built: Callable[..., Any]) -> None:
    model = built('FC-CLIP, ViT')
    notes = load_weights(model, without_clip(model), source='x', strict=False)
    assert len(notes) == 1 and 'read from the weights that the config names' in notes[0]


@pytest.mark.parametrize('kind', ['AnoVL', 'WinCLIP', 'AprilGAN'])
def test_anomaly_models_say_what_a_checkpoint_lacks(kind: str) -> None:
    config = dict(embed_dim=8, vision_cfg=ANOMALY_VISION, text_cfg=ANOMALY_TEXT)
    layers = dict(layers=(1, 3)) if kind == 'AprilGAN' else {}
    model = build_module(dict(type=kind, clip=dict(config=config), prompts=PROMPTS, **layers))
    with pytest.raises(WeightMismatchError, match=rf'lacks .*CLIP tensors of {kind}'):
        model.load_state_dict(without_clip(model), strict=False)


def test_a_region_classifier_of_its_own_reads_its_clip(built: Callable[..., Any]) -> None:
    expected = right('region classifier', built)
    model = built('region classifier', seed=3)
    with torch.no_grad():
        model(torch.rand(3, 32, 40) * 255, random_masks(2, (32, 40)).sigmoid())
    assert not differing(model, expected)


BLACK_IS_ZERO = dict(type='mmseg.SegDataPreProcessor', mean=[0.0] * 3, std=[255.0] * 3)


@pytest.mark.parametrize('build', [tiny_open_vocab, tiny_fcclip])
def test_another_normalisation_is_told(build: Any) -> None:
    with pytest.warns(UserWarning, match='the data preprocessor normalises with mean'):
        build(data_preprocessor=dict(BLACK_IS_ZERO))
    with warnings.catch_warnings():
        warnings.simplefilter('error', UserWarning)
        build()


def test_a_model_that_gives_clip_its_own_colours_is_left_alone() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter('error', UserWarning)
        tiny_two_stage(data_preprocessor=dict(BLACK_IS_ZERO))
