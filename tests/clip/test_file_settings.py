"""Activation and normalisation of weights in a file."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import open_clip
import pytest
import torch
from open_clip import pretrained as tags
from parity.torchscript import write_torchscript

from denseclip.clip.errors import UnknownModelError
from denseclip.clip.file_settings import file_settings
from denseclip.clip.loading import load_clip
from denseclip.clip.preprocess import PreprocessSpec
from denseclip.models.clip_weights import preprocess_of, quick_gelu_of
from denseclip.models.open_clip_parts import OpenCLIPParts
from denseclip.weights import write_safetensors

LOOKS = ('mean', 'std', 'interpolation', 'resize_mode')
NOT_OPENAIS = 45
TEXT = dict(context_length=77, vocab_size=49408, width=64, heads=1, layers=1)
SMALL = dict(embed_dim=8, vision_cfg=dict(layers=1, width=64, patch_size=8, image_size=16), text_cfg=TEXT)


def looks_of(name: str) -> set[tuple]:
    entries = [tags.get_pretrained_cfg(name, tag) for tag in tags.list_pretrained_tags_by_model(name)]
    return {tuple(entry[key] for key in LOOKS) for entry in entries}


UNANIMOUS = [name for name in open_clip.list_models() if len(looks_of(name)) == 1]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_safetensors({'weight': torch.ones(1)}, tmp_path / 'weights.safetensors')


def test_files_take_what_all_tags_of_the_architecture_share(file: Path) -> None:
    usual, others = PreprocessSpec(), 0
    for name in UNANIMOUS:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            spec = PreprocessSpec.of(file_settings(file, [name]).preprocess)
        assert {tuple(getattr(spec, key) for key in LOOKS)} == looks_of(name)
        others += any(getattr(spec, key) != getattr(usual, key) for key in LOOKS)
    assert others >= NOT_OPENAIS - 2  # of 3.3.0's, two more disagree about it


@pytest.mark.parametrize(
    'name', ['ViT-B-16-SigLIP', 'ViT-B-16-SigLIP2', 'ViT-L-14-CLIPA', 'PE-Core-B-16', 'MobileCLIP-S1']
)
def test_nothing_is_said_where_nothing_is_guessed(name: str, file: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert PreprocessSpec.of(file_settings(file, [name]).preprocess) != PreprocessSpec()


@pytest.mark.parametrize(
    ('name', 'quick_gelu', 'words'),
    [
        ('ViT-L-14', False, ['mean [0.481, 0.458, 0.408]', 'mean [0.500, 0.500, 0.500]', 'laion2b_s32b_b82k', "tag='"]),
        ('ViT-H-14-quickgelu', True, ['resize_mode shortest', 'resize_mode squash (dfn5b)']),
    ],
)
def test_where_tags_disagree_the_choices_are_named(name: str, quick_gelu: bool, words: list[str], file: Path) -> None:
    with pytest.warns(UserWarning, match='prepared in different ways') as caught:
        found = file_settings(file, [name], quick_gelu=quick_gelu)
    text = str(caught[0].message)
    assert all(word in text for word in words) and str(file) in text
    assert PreprocessSpec.of(found.preprocess) == PreprocessSpec()


def test_a_tag_decides(file: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        found = file_settings(file, ['ViT-L-14'], tag='laion2b_s32b_b82k')
        assert found.preprocess['mean'] == (0.5, 0.5, 0.5) and not found.quick_gelu
        assert file_settings(file, ['ViT-L-14'], tag='openai').quick_gelu
    with pytest.raises(UnknownModelError, match=r"no tag 'opnai' of ViT-L-14; nearest: openai"):
        file_settings(file, ['ViT-L-14'], tag='opnai')


TWINS = [name for name in open_clip.list_models() if f'{name}-quickgelu' in open_clip.list_models()]


@pytest.mark.parametrize('name', TWINS)
def test_a_plain_file_of_an_architecture_with_both_activations_is_a_guess_said_aloud(name: str, file: Path) -> None:
    with pytest.warns(UserWarning, match='which activation') as caught:
        assert not file_settings(file, [name]).quick_gelu
    text = str(caught[0].message)
    assert f"'{name}-quickgelu'" in text and 'GELU (as in most weights) is taken' in text and "tag='" in text
    with warnings.catch_warnings():
        warnings.filterwarnings('error', message='.*which activation')
        warnings.filterwarnings('ignore', message='.*prepared in different ways')
        file_settings(file, [f'{name}-quickgelu'], default=True)
        file_settings(file, [name], quick_gelu=True)
        file_settings(None, [name])
        file_settings(file.with_name('not-here.pt'), [name])


def test_an_openai_archive_is_openais(tmp_path: Path) -> None:
    state = open_clip.CLIP(**SMALL).state_dict()
    file = write_torchscript(state, tmp_path / 'clip.pt')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        found = file_settings(file, ['ViT-L-14'])
    assert found.quick_gelu and PreprocessSpec.of(found.preprocess) == PreprocessSpec()


def test_a_configuration_beside_the_file_decides(tmp_path: Path) -> None:
    look = dict(mean=[0.1] * 3, std=[0.2] * 3, interpolation='bilinear', resize_mode='squash')
    write_safetensors(open_clip.CLIP(**SMALL, quick_gelu=True).state_dict(), tmp_path / 'open_clip_model.safetensors')
    content = {'model_cfg': {**SMALL, 'quick_gelu': True}, 'preprocess_cfg': look}
    (tmp_path / 'open_clip_config.json').write_text(json.dumps(content))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        for named in ('open_clip_model.safetensors', ''):  # the file, or its folder without a scheme
            loaded = load_clip(str(tmp_path / named))
            assert loaded.config['quick_gelu'] is True
            assert (loaded.preprocess.mean, loaded.preprocess.resize_mode) == ((0.1,) * 3, 'squash')
        parts = OpenCLIPParts('ViT-B-16', str(tmp_path / 'open_clip_model.safetensors'), arch=SMALL)
    assert parts.clip.config['quick_gelu'] is True and parts.clip.preprocess.mean == (0.1,) * 3
    write_safetensors({'x': torch.ones(1)}, tmp_path / 'another.safetensors')  # that the configuration is not about
    with pytest.warns(UserWarning, match='which activation'):
        assert not file_settings(tmp_path / 'another.safetensors', ['ViT-B-16']).quick_gelu


def test_models_ask_the_same_question(file: Path) -> None:
    parts = OpenCLIPParts(
        'ViT-B-16-SigLIP', str(file), arch=dict(vision_cfg=dict(timm_model_name='vit_tiny_patch16_224'))
    )
    assert parts.clip.preprocess.mean == (0.5,) * 3
    with pytest.warns(UserWarning, match='QuickGELU .* is taken'):
        assert quick_gelu_of(str(file), 'RN50')
    assert not quick_gelu_of(str(file), 'ViT-B-16-plus-240')  # OpenAI made none
    assert preprocess_of(dict(source=str(file), tag='laion2b_s32b_b82k'), 'ViT-L-14').mean == (0.5,) * 3
    assert preprocess_of('laion2b_s32b_b82k', 'ViT-L-14').mean == (0.5,) * 3
    assert quick_gelu_of(None, 'RN50') and preprocess_of(None, 'RN50') == PreprocessSpec()


@pytest.mark.slow
def test_a_file_alone_of_a_size_that_openai_never_made(tmp_path: Path) -> None:
    """Once every file without a named architecture was given OpenAI's activation."""
    config = open_clip.get_model_config('ViT-S-32-alt')
    file = write_safetensors(open_clip.CLIP(**config).state_dict(), tmp_path / 'small.safetensors')
    loaded = load_clip(str(file))
    assert loaded.config['quick_gelu'] is False
    config = open_clip.get_model_config('RN50')
    config['text_cfg']['vocab_size'] = 49408
    file = write_safetensors(open_clip.CLIP(**config).state_dict(), tmp_path / 'rn50.safetensors')
    with pytest.warns(UserWarning, match=r"QuickGELU .* is taken.*'RN50' or 'RN50-quickgelu'"):
        assert load_clip(str(file)).config['quick_gelu'] is True
