"""Every architecture of open_clip, shrunk and with random weights: what its towers answer and what that means.

An answer is compared with open_clip's own modules: the image embedding with ``encode_image``, each pixel embedding with
its definition, other picture sizes with a model that was built for them, and text at its true length with text at full
length. Architectures that differ in sizes alone are run once.
"""

from __future__ import annotations

import copy
import json
import re
from collections import defaultdict
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
import torch.nn.functional as F
from open_clip.modified_resnet import ModifiedResNet
from open_clip.transformer import VisionTransformer
from shrunk_clips import LetterTokenizer, shrunk_clip, shrunk_config
from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn

from denseclip.clip.loading import LoadedCLIP
from denseclip.clip.preprocess import PreprocessSpec
from denseclip.clip.towers import FIXED_SIZE, DenseReadOut, ImageTower

TOLERANCE = {'atol': 1e-5, 'rtol': 1e-4}
ONE_OF_EACH_KIND = (
    'RN50',
    'ViT-B-32-quickgelu',
    'ViT-L-14-CLIPA',
    'ViT-M-16-alt',
    'coca_ViT-B-32',
    'convnext_base',
    'convnext_large_d',
    'EVA02-B-16',
    'PE-Core-B-16',
    'ViT-B-16-SigLIP2',
    'MobileCLIP-S1',
    'MobileCLIP2-B',
    'ViTamin-S',
    'vit_medium_patch16_gap_256',
    'vit_relpos_medium_patch16_cls_224',
)


def loaded(architecture: str) -> LoadedCLIP:
    """A shrunk model as ``load_clip`` gives it, with a tokenizer that needs no files."""
    config = shrunk_config(architecture)
    model = shrunk_clip(config)
    clip = LoadedCLIP(model, PreprocessSpec(), architecture, config)
    clip.__dict__['tokenizer'] = LetterTokenizer(getattr(model, 'text', model), config['text_cfg'])
    return clip


def own_size(visual: Any) -> tuple[int, int]:
    """Height and width of the pictures that a tower was built for; a ViTamin of open_clip names another size."""
    embed = getattr(getattr(visual, 'trunk', None), 'patch_embed', None)
    size = visual.image_size if embed is None else embed.img_size
    return (size, size) if isinstance(size, int) else tuple(size)


def wide_size(tower: ImageTower) -> tuple[int, int]:
    """A picture of 16:9 in whole patches, with another number of them than any tower was built for."""
    height, width = tower.multiple
    return 9 * height, 16 * width


def pooled_by_open_clip(clip: LoadedCLIP, images: Tensor) -> Tensor:
    model: Any = clip.model
    return model.encode_image(images, normalize=False)


def built_for(clip: LoadedCLIP, size: tuple[int, int], read_out: DenseReadOut) -> LoadedCLIP:
    """The same weights in a model that open_clip or timm built for another picture size."""
    other = copy.deepcopy(clip)
    visual: Any = other.model.visual
    if hasattr(visual, 'trunk'):
        if hasattr(visual.trunk, 'blocks'):
            visual.trunk.set_input_size(size)
        return other
    holder = visual.attnpool if isinstance(visual, ModifiedResNet) else visual
    patch = (32, 32) if isinstance(visual, ModifiedResNet) else visual.patch_size
    grid = [side // p for side, p in zip(size, patch, strict=True)]
    table = resample_abs_pos_embed(
        holder.positional_embedding.detach()[None],
        grid,
        num_prefix_tokens=1,
        interpolation=read_out.pos_resize,
        antialias=read_out.antialias,
    )
    holder.positional_embedding = nn.Parameter(table[0])
    return other


def definition(visual: Any, images: Tensor) -> Tensor:
    """Pixel embeddings (N, hw, E) by open_clip's own modules.

    A ResNet's pixel is what its attention pool gives for that pixel as query. Every other tower's pixel is the image
    embedding of a last layer that holds nothing but that pixel.
    """
    if isinstance(visual, ModifiedResNet):
        return resnet_definition(visual, images)
    if isinstance(visual, VisionTransformer):
        tokens = visual.transformer(visual._embeds(images))[:, 1:]
        alone = tokens.flatten(0, 1)[:, None].expand(-1, 3, -1)
        return (visual._pool(alone)[0] @ visual.proj).unflatten(0, tokens.shape[:2])
    trunk = visual.trunk
    last = trunk.forward_features(images)
    if last.ndim == 3:
        tokens = last[:, trunk.num_prefix_tokens :]
        alone = tokens.flatten(0, 1)[:, None].expand(-1, trunk.num_prefix_tokens + 2, -1)
        return visual.head(trunk.forward_head(alone)).unflatten(0, tokens.shape[:2])
    if getattr(trunk, 'output_fmt', 'NCHW') != 'NHWC':
        last = last.permute(0, 2, 3, 1)
    pixels = last.flatten(0, 2)[:, None, None]
    if getattr(trunk, 'output_fmt', 'NCHW') != 'NHWC':
        pixels = pixels.permute(0, 3, 1, 2)
    return visual.head(trunk.forward_head(pixels)).unflatten(0, (last.shape[0], -1))


def resnet_definition(visual: Any, images: Tensor) -> Tensor:
    x, pool = visual.stem(images), visual.attnpool
    for layer in (visual.layer1, visual.layer2, visual.layer3, visual.layer4):
        x = layer(x)
    x = x.flatten(2).permute(2, 0, 1)
    x = torch.cat([x.mean(dim=0, keepdim=True), x]) + pool.positional_embedding[:, None]
    answers, _ = F.multi_head_attention_forward(
        query=x,
        key=x,
        value=x,
        embed_dim_to_check=x.shape[-1],
        num_heads=pool.num_heads,
        q_proj_weight=pool.q_proj.weight,
        k_proj_weight=pool.k_proj.weight,
        v_proj_weight=pool.v_proj.weight,
        in_proj_weight=None,
        in_proj_bias=torch.cat([pool.q_proj.bias, pool.k_proj.bias, pool.v_proj.bias]),
        bias_k=None,
        bias_v=None,
        add_zero_attn=False,
        dropout_p=0.0,
        out_proj_weight=pool.c_proj.weight,
        out_proj_bias=pool.c_proj.bias,
        use_separate_proj_weight=True,
        training=False,
        need_weights=False,
    )
    return answers[1:].transpose(0, 1)


def check_pictures(clip: LoadedCLIP, size: tuple[int, int], reference: LoadedCLIP, read_out: DenseReadOut) -> None:
    """Image and pixel embeddings of pictures of one size."""
    images = torch.randn(1, 3, *size)
    tower = clip.image_tower(read_out)
    out = tower(images)
    torch.testing.assert_close(out.pooled, pooled_by_open_clip(reference, images), **TOLERANCE)
    assert out.dense.shape[1] == tower.embed_dim == clip.config['embed_dim']
    grid = tuple(side // multiple for side, multiple in zip(size, tower.multiple, strict=True))
    assert out.dense.shape[2:] == grid
    expected = definition(reference.model.visual, images)
    torch.testing.assert_close(out.dense.flatten(2).transpose(1, 2), expected, **TOLERANCE)


def check_text(clip: LoadedCLIP) -> None:
    """Prompts of three lengths against open_clip's whole text tower at its full length."""
    prompts, tower = ['a', 'forest', 'two words'], clip.text_tower()
    ids = [clip.tokenizer(prompt) for prompt in prompts]
    full = torch.tensor([i + [clip.tokenizer.pad_id] * (tower.context_length - len(i)) for i in ids])
    model: Any = clip.model
    torch.testing.assert_close(tower.encode(prompts), model.encode_text(full, normalize=False), **TOLERANCE)
    assert tower.tokenize(prompts).shape[1] == (max(map(len, ids)) if tower.crops else tower.context_length)


def documented() -> list[tuple[list[str], str]]:
    """Name patterns and tower of every row of docs/towers.md."""
    page = (Path(__file__).parents[2] / 'docs' / 'towers.md').read_text(encoding='utf-8')
    rows = re.findall(r'^\| (`.*?) \| `(\w+Tower)` \|', page, flags=re.MULTILINE)
    return [(re.findall('`(.+?)`', names), tower) for names, tower in rows]


@torch.no_grad()
def check(architecture: str) -> str:
    """All checks of one architecture; the name of its tower's class."""
    clip = loaded(architecture)
    torch.manual_seed(1)
    read_out = DenseReadOut(pos_resize='bicubic', antialias=True)
    names = set(clip.model.visual.state_dict())
    tower = clip.image_tower(read_out)
    check_pictures(clip, own_size(clip.model.visual), clip, read_out)
    wide = wide_size(tower)
    if architecture in FIXED_SIZE:
        with pytest.raises(ValueError, match='knows the positions of'):
            tower(torch.randn(1, 3, *wide))
    else:
        check_pictures(clip, wide, built_for(clip, wide, read_out), read_out)
        check_pictures(clip, wide[::-1], built_for(clip, wide[::-1], read_out), read_out)
    assert {f'visual.{name}' for name in names} == set(tower.state_dict())
    check_text(clip)
    return type(tower).__name__


@pytest.mark.parametrize('architecture', ONE_OF_EACH_KIND)
def test_one_of_each_kind(architecture):
    check(architecture)


def kinds() -> dict[str, list[str]]:
    """Architectures by their shrunk configuration: those that shrink to the same one are run once."""
    found = defaultdict(list)
    for architecture in open_clip.list_models():
        found[json.dumps(shrunk_config(architecture), sort_keys=True)].append(architecture)
    return found


@pytest.mark.slow
def test_all():
    """Nothing is left out, in the code's table of fixed sizes and in the documentation's of towers."""
    failed: dict[str, str] = {}
    towers: dict[str, str] = {}
    for same in kinds().values():
        try:
            towers |= dict.fromkeys(same, check(same[0]))
        except (AssertionError, RuntimeError, ValueError) as error:
            failed[', '.join(same)] = f'{type(error).__name__}: {error}'[:300]
    assert not failed
    assert set(towers) == set(open_clip.list_models()) and set(FIXED_SIZE) <= set(towers)
    for architecture, tower in towers.items():
        found = [row for names, row in documented() if any(fnmatch(architecture, name) for name in names)]
        assert found and found[0] == tower, f'docs/towers.md: {architecture} has a {tower}, not {found[:1]}'
