"""Words on DINO: files of each layout, against timm's networks and the mapping by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from tiny_text_clip import tiny_text_clip
from torch import Tensor, nn

from denseclip.cli.main import main
from denseclip.clip.family import read_family
from denseclip.clip.loading import load_clip
from denseclip.clip.text import MappedTextTower, TextMapping
from denseclip.clip.text_bank import TextBank
from denseclip.clip.towers import DenseReadOut
from denseclip.models.builder import build_module
from denseclip.weights import WeightMismatchError
from denseclip.weights.convert import convert

WIDTH, EMBED = 64, 24
SIZES: dict[str, dict[str, Any]] = {
    'vit_small_patch14_reg4_dinov2': dict(patch_size=8, img_size=32),
    'vit_small_patch14_dinov2': dict(patch_size=8, img_size=32),
    'vit_small_patch16_dinov3': dict(patch_size=8, img_size=32),
    'vit_small_patch16_dinov3_qkvb': dict(patch_size=8, img_size=32),
}
PICTURES = [(32, 32), (16, 40)]


def dino(name: str = 'vit_small_patch14_reg4_dinov2', **sizes: Any) -> nn.Module:
    torch.manual_seed(1)
    own = dict(embed_dim=WIDTH, depth=2, num_heads=1, num_classes=0, **SIZES.get(name, {}), **sizes)
    return timm.create_model(name, pretrained=False, **own).eval()


def mapping() -> dict[str, Tensor]:
    """In the authors' layout."""
    torch.manual_seed(2)
    shapes = {'linear_layer': (WIDTH, EMBED), 'hidden_layers.0': (WIDTH, WIDTH)}
    weights = {f'{name}.weight': torch.randn(shape) / 5 for name, shape in shapes.items()}
    return weights | {f'{name}.bias': torch.randn(WIDTH) / 5 for name in shapes}


def mapped(state: dict[str, Tensor], x: Tensor) -> Tensor:
    hidden = (x @ state['linear_layer.weight'].T + state['linear_layer.bias']).tanh()
    return hidden @ state['hidden_layers.0.weight'].T + state['hidden_layers.0.bias']


@pytest.fixture(scope='module')
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all files; the mapping is a PyTorch file as the authors publish it."""
    folder = tmp_path_factory.mktemp('talk2dino')
    tiny_text_clip(folder / 'clip', EMBED)
    torch.save(mapping(), folder / 'mapping.pth')
    for name in SIZES:
        torch.save(dino(name).state_dict(), folder / f'{name}.pth')
    return folder


def read(place: Path, **changes: Any) -> Any:
    files = dict(dino=place / 'vit_small_patch14_reg4_dinov2.pth', base=f'local-dir:{place / "clip"}')
    return read_family(place / 'mapping.pth', **{**files, **changes})


@pytest.mark.parametrize('name', SIZES)
@torch.no_grad()
def test_patches_are_dinos_and_words_are_mapped(place: Path, tmp_path: Path, name: str) -> None:
    arguments = ['--dino', str(place / f'{name}.pth'), '--base', f'local-dir:{place / "clip"}']
    assert main(['convert', 'clip', str(place / 'mapping.pth'), str(tmp_path / 'folder'), *arguments]) == 0
    loaded = load_clip(f'local-dir:{tmp_path / "folder"}')
    theirs = dino(name)
    tower = loaded.image_tower(DenseReadOut(pos_resize='bicubic', antialias=True))
    for height, width in PICTURES:
        pictures = torch.randn(2, 3, height, width)
        if (height, width) == (32, 32):
            expected = theirs.forward_features(pictures)[:, theirs.num_prefix_tokens :]
        else:
            other = dino(name, **({} if 'dinov3' in name else dict(dynamic_img_size=True)))
            other.load_state_dict(theirs.state_dict())
            expected = other.forward_features(pictures)[:, theirs.num_prefix_tokens :]
        found = tower(pictures)
        assert torch.allclose(found.dense.flatten(2).transpose(1, 2), expected, atol=1e-4)
        assert torch.allclose(found.pooled, expected.mean(dim=1), atol=1e-4)
    plain = load_clip(f'local-dir:{place / "clip"}').text_tower()
    words = ['road', 'a photo of a traffic light.']
    text = loaded.text_tower()
    assert torch.allclose(text.encode(words), mapped(mapping(), plain.encode(words)), atol=1e-5)
    tokens = text.tokenize(words)
    whole = F.pad(tokens, (0, 77 - tokens.shape[1]))
    assert torch.allclose(loaded.model.encode_text(whole), text.encode(words), atol=1e-4)
    assert loaded.preprocess.mean == pytest.approx((0.485, 0.456, 0.406)) and loaded.preprocess.size == (448, 448)


@torch.no_grad()
def test_sentences_are_averaged_before_the_mapping(place: Path) -> None:
    loaded = read(place)
    plain = load_clip(f'local-dir:{place / "clip"}').text_tower()
    text = TextBank(loaded.text_tower(), ('a {}.', 'the {} in a game.')).encode('road; sky')
    means = torch.stack([plain.encode([f'a {w}.', f'the {w} in a game.']).mean(0) for w in ('road', 'sky')])
    assert torch.allclose(text.embeddings, F.normalize(mapped(mapping(), means), dim=-1), atol=1e-5)


@pytest.mark.parametrize('preset', ['talk2dino', 'clearclip', 'naclip', 'pearl'])
def test_any_preset_labels_pixels_with_it(place: Path, tmp_path: Path, preset: str) -> None:
    from denseclip.clip.writing import write_clip_folder

    write_clip_folder(read(place), tmp_path)
    clip = dict(model=f'local-dir:{tmp_path}', preset=preset)
    model = build_module(dict(type='OpenVocabularySegmentor', clip=clip, vocabulary='road; sky; a; b')).eval()
    labels = [sample.pred_sem_seg.data for sample in model.predict(torch.randn(1, 3, 20, 43))]
    assert labels[0].shape == (1, 20, 43)
    model.set_vocabulary('cat; dog')
    assert model.head_logits(torch.randn(1, 3, 24, 16)).shape == (1, 2, 3, 2)


def test_what_does_not_fit_is_said(place: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='name the weights of the DINO that it belongs to: --dino'):
        read(place, dino=None)
    tiny_text_clip(tmp_path / 'other', EMBED + 8)
    with pytest.raises(WeightMismatchError, match='maps 24 numbers to 64, but a text embedding of .* has 32'):
        read(place, base=f'local-dir:{tmp_path / "other"}')
    gated = dino('vit_giant_patch14_reg4_dinov2', patch_size=8, img_size=32, mlp_ratio=4.0)
    torch.save(gated.state_dict(), tmp_path / 'gated.pth')
    with pytest.raises(WeightMismatchError, match='its blocks are gated'):
        read(place, dino=tmp_path / 'gated.pth')
    with pytest.raises(ValueError, match='has an image tower of its own: no DINO goes with it'):
        read_family(f'local-dir:{place / "clip"}', dino=place / 'vit_small_patch14_dinov2.pth')


def test_the_authors_names_and_back() -> None:
    state = mapping()
    ours = convert(state, 'talk2dino')
    assert TextMapping.widths_of(ours) == (EMBED, WIDTH, WIDTH)
    back = convert(ours, 'talk2dino', inverse=True)
    assert back.keys() == state.keys() and all(torch.equal(back[k], state[k]) for k in state)
    old = {k.replace('hidden_layers.0', 'linear_layer2'): v for k, v in state.items()}
    assert all(torch.equal(v, ours[k]) for k, v in convert(old, 'talk2dino').items())
    with pytest.raises(WeightMismatchError, match='no mapping of Talk2DINO'):
        convert({**state, 'attn_weights': torch.zeros(16)}, 'talk2dino')


def test_a_mapping_has_a_known_activation(place: Path) -> None:
    with pytest.raises(ValueError, match="one of tanh, relu, sigmoid, not .* and 'gelu'"):
        TextMapping((4, 4), 'gelu')
    tower = read(place).text_tower()
    assert isinstance(tower, MappedTextTower)
    before = tower.fingerprint()
    tower.mapping.activation = 'relu'
    assert tower.fingerprint() != before  # cached texts are not mistaken for one another
