"""dino.txt: files of both layouts as models of words; that they are its authors' numbers is in tests/golden."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor

from denseclip.cli.main import main
from denseclip.clip.errors import NoReadOutError
from denseclip.clip.family import read_family
from denseclip.clip.loading import load_clip
from denseclip.clip.towers import DenseReadOut
from denseclip.models.builder import build_module
from denseclip.weights import WeightMismatchError
from denseclip.weights.convert import convert

WIDTH, HIDDEN = 64, 72
TRUNKS = {'v2': 'vit_small_patch14_reg4_dinov2', 'v3': 'vit_small_patch16_dinov3'}


def norm(name: str) -> dict[str, Tensor]:
    return {f'{name}.weight': torch.rand(WIDTH) + 0.5, f'{name}.bias': torch.randn(WIDTH) / 8}


def linear(name: str, rows: int, columns: int, bias: bool = True) -> dict[str, Tensor]:
    found = {f'{name}.weight': torch.randn(rows, columns) / 8}
    return found | ({f'{name}.bias': torch.randn(rows) / 8} if bias else {})


def head(blocks: str) -> dict[str, Tensor]:
    """One block and its norm; ``blocks`` is what the authors call the list."""
    torch.manual_seed(5)
    at = f'{blocks}.0'
    found = norm(f'{at}.norm1') | norm(f'{at}.norm2') | norm('ln_final')
    found |= linear(f'{at}.attn.qkv', 3 * WIDTH, WIDTH, bias=False) | linear(f'{at}.attn.proj', WIDTH, WIDTH)
    found |= linear(f'{at}.mlp.w1', HIDDEN, WIDTH) | linear(f'{at}.mlp.w2', HIDDEN, WIDTH)
    found |= linear(f'{at}.mlp.w3', WIDTH, HIDDEN)
    return found | {f'{at}.ls{n}.gamma': torch.rand(WIDTH) for n in (1, 2)}


def text() -> dict[str, Tensor]:
    torch.manual_seed(6)
    at = 'backbone.blocks.0'
    found = {'backbone.token_embedding.weight': torch.randn(49408, WIDTH) / 8}
    found['backbone.positional_embedding'] = torch.randn(77, WIDTH) / 8
    found |= norm(f'{at}.attention_norm') | norm(f'{at}.ffn_norm') | norm('backbone.ln_final')
    found |= linear(f'{at}.attention.qkv', 3 * WIDTH, WIDTH, bias=False) | linear(f'{at}.attention.proj', WIDTH, WIDTH)
    found |= linear(f'{at}.feed_forward.fc1', 2 * WIDTH, WIDTH) | linear(f'{at}.feed_forward.fc2', WIDTH, 2 * WIDTH)
    return found | linear('head.linear_projection', 2 * WIDTH, WIDTH, bias=False)


@pytest.fixture(scope='module')
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('dinotxt')
    for version, name in TRUNKS.items():
        torch.manual_seed(4)
        sizes = dict(embed_dim=WIDTH, depth=1, num_heads=1, patch_size=8, img_size=32, num_classes=0)
        torch.save(timm.create_model(name, pretrained=False, **sizes).state_dict(), folder / f'dino_{version}.pth')
    torch.save(head('block_list'), folder / 'head.pth')
    torch.save(text(), folder / 'text.pth')
    both = {f'visual_model.head.{k}': v for k, v in head('blocks').items()}
    both |= {f'text_model.{k}': v for k, v in text().items()} | {'logit_scale': torch.ones(1)}
    torch.save(both, folder / 'both.pth')
    return folder


def arguments(place: Path, version: str) -> dict[str, Any]:
    one = dict(source=place / 'both.pth')
    files = dict(source=place / 'head.pth', base=place / 'text.pth') if version == 'v2' else one
    return {**files, 'dino': place / f'dino_{version}.pth'}


@pytest.mark.parametrize('version', TRUNKS)
def test_a_folder_labels_pixels_by_words(place: Path, tmp_path: Path, version: str) -> None:
    given = {k: str(v) for k, v in arguments(place, version).items()}
    source, options = given.pop('source'), [word for k, v in given.items() for word in (f'--{k}', v)]
    assert main(['convert', 'clip', source, str(tmp_path / 'made'), *options]) == 0
    folder = f'local-dir:{tmp_path / "made"}'
    read, again = read_family(**arguments(place, version)), load_clip(folder)
    pictures = torch.randn(2, 3, 24, 40, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        first, second = (each.image_tower(DenseReadOut())(pictures) for each in (read, again))
        assert torch.equal(first.dense, second.dense) and first.dense.shape == (2, WIDTH, 3, 5)
        assert torch.allclose(second.pooled, second.dense.mean(dim=(2, 3)), atol=1e-5)
        words = [each.text_tower().encode(['road', 'the sky.']) for each in (read, again)]
    assert torch.equal(*words) and words[0].shape == (2, WIDTH)
    assert again.preprocess == read.preprocess and again.preprocess.size == (512, 512)
    for preset in ('dinotxt', 'naclip'):
        clip = dict(model=folder, preset=preset)
        model = build_module(dict(type='OpenVocabularySegmentor', clip=clip, vocabulary='road; sky; a')).eval()
        assert model.predict(pictures[:1, :, :21])[0].pred_sem_seg.data.shape == (1, 21, 40)


@torch.no_grad()
def test_head_blocks_know_no_places(place: Path) -> None:
    """Without DINO's own blocks, patches that change places change theirs in the result and nothing else."""
    tower = read_family(**arguments(place, 'v3')).image_tower(DenseReadOut(attention='kk', pooled=False))
    del tower.visual.trunk.blocks[0]
    pictures = torch.randn(1, 3, 8, 24)
    turned = torch.cat([pictures[..., 16:], pictures[..., :16]], dim=-1)
    found = tower(pictures).dense
    assert torch.allclose(tower(turned).dense, torch.cat([found[..., 2:], found[..., :2]], dim=-1), atol=1e-5)


def test_what_does_not_fit_is_said(place: Path, tmp_path: Path) -> None:
    given = arguments(place, 'v2')
    with pytest.raises(ValueError, match='not the DINO below it; name that, too: --dino'):
        read_family(**{**given, 'dino': None})
    with pytest.raises(ValueError, match='without its text tower; name the file of that by --base'):
        read_family(**{**given, 'base': None})
    with pytest.raises(WeightMismatchError, match='is no text tower of dino.txt'):
        read_family(**{**given, 'base': place / 'head.pth'})
    torch.save({**text(), **linear('head.linear_projection', 4 * WIDTH, WIDTH, bias=False)}, tmp_path / 'wide.pth')
    with pytest.raises(WeightMismatchError, match='has 64 channels, its text tower 128 and '):
        read_family(**{**given, 'base': tmp_path / 'wide.pth'})
    with pytest.raises(WeightMismatchError, match='has a linear projection'):
        convert({**head('block_list'), 'linear_projection.weight': torch.zeros(2, 2)}, 'dinotxt')
    with pytest.raises(WeightMismatchError, match='neither head nor text tower of dino.txt'):
        convert({'conv1.weight': torch.zeros(1)}, 'dinotxt')
    with pytest.raises(NoReadOutError, match='layers of type LayerNorm among the last 3 can only be read as trained'):
        read_family(**given).image_tower(DenseReadOut(attention='qq', layers=3))
