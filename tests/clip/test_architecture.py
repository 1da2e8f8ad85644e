"""The architecture of a plain CLIP file, told from its tensors."""

from __future__ import annotations

from typing import Any

import open_clip
import pytest
import torch
from torch import Tensor, nn

from denseclip.clip.architecture import architectures_of, infer_config
from denseclip.weights import WeightMismatchError

TEXT = dict(context_length=77, vocab_size=49408, width=512, heads=8, layers=12)


def is_plain(name: str) -> bool:
    config = open_clip.get_model_config(name)
    other = 'timm_model_name' in config['vision_cfg'] or 'hf_model_name' in config['text_cfg']
    return not (other or config.get('custom_text') or 'multimodal_cfg' in config)


ALL = [name for name in open_clip.list_models() if is_plain(name)]
TOLD = [name for name in ALL if 'CLIPA' not in name and 'worldwide' not in name]


def state_of(config: dict[str, Any]) -> dict[str, Tensor]:
    """Names and shapes of a model; a block of each kind is built, the others are named alike."""
    vision, text = config['vision_cfg'], config['text_cfg']
    short = {**config, 'text_cfg': {**text, 'layers': 1}}
    if isinstance(vision['layers'], int):
        short['vision_cfg'] = {**vision, 'layers': 1}
    with torch.device('meta'):
        state = open_clip.CLIP(**short).state_dict()
    layers = {'transformer.resblocks.0.': text['layers']}
    if isinstance(vision['layers'], int):
        layers['visual.transformer.resblocks.0.'] = vision['layers']
    for prefix, count in layers.items():
        block = {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
        for number in range(1, count):
            state.update({f'{prefix[:-2]}{number}.{key}': value for key, value in block.items()})
    return state


def structure(config: dict[str, Any]) -> list[tuple[str, int]]:
    """Heads of every attention of a model, on no device, one block deep."""
    vision = config['vision_cfg']
    if isinstance(vision['layers'], int):
        vision = {**vision, 'layers': 1}
    with torch.device('meta'):
        model = open_clip.CLIP(**{**config, 'vision_cfg': vision, 'text_cfg': {**config['text_cfg'], 'layers': 1}})
    return [
        (name, module.num_heads)
        for name, module in model.named_modules()
        if isinstance(module, nn.MultiheadAttention) or name.endswith('attnpool')
    ]


@pytest.mark.parametrize('name', TOLD)
def test_every_architecture_is_told_from_its_shapes(name: str) -> None:
    """Above all its heads, which leave no trace: ViT-H has heads of 80 channels, g of 88, bigG of 104, e of 112."""
    config = open_clip.get_model_config(name)
    state = state_of(config)
    found = infer_config(state)
    again = state_of(found)
    assert {k: v.shape for k, v in again.items()} == {k: v.shape for k, v in state.items()}
    assert structure(found) == structure(config)
    assert found['text_cfg']['heads'] == config['text_cfg']['heads']
    assert found['vision_cfg']['image_size'] == config['vision_cfg']['image_size']
    assert name in architectures_of(state)


@pytest.mark.parametrize('name', sorted(set(ALL) - set(TOLD)))
def test_what_works_in_another_way_is_refused_with_the_names_that_fit(name: str) -> None:
    state = state_of(open_clip.get_model_config(name))
    with pytest.raises(WeightMismatchError, match=r'name the architecture') as caught:
        infer_config(state)
    assert name in str(caught.value)


@pytest.mark.parametrize(
    ('width', 'choices'),
    [
        (1280, '20 heads of 64 or 16 heads of 80'),
        (1664, '26 heads of 64 or 16 heads of 104'),
        (896, '14 heads of 64 or 8 heads of 112'),
        (100, 'any number of heads'),
    ],
)
def test_heads_that_nothing_tells_are_asked_for(width: int, choices: str) -> None:
    config = dict(embed_dim=8, vision_cfg=dict(layers=3, width=width, patch_size=16, image_size=32, head_width=width))
    state = state_of({**config, 'text_cfg': TEXT})
    with pytest.raises(WeightMismatchError, match=rf'{choices} channels.*open_clip_config\.json'):
        infer_config(state)


def test_the_only_possible_heads_are_taken_with_a_word() -> None:
    config = dict(embed_dim=8, vision_cfg=dict(layers=3, width=768, patch_size=16, image_size=32))
    with pytest.warns(UserWarning, match='image tower of width 768 with 3 layers.*12 heads of 64'):
        assert infer_config(state_of({**config, 'text_cfg': TEXT}))['vision_cfg']['head_width'] == 64


def test_openai_archives_follow_openais_rule() -> None:
    config = dict(embed_dim=8, vision_cfg=dict(layers=3, width=1280, patch_size=16, image_size=32))
    state = state_of({**config, 'text_cfg': TEXT})
    assert infer_config(state, openai_archive=True)['vision_cfg']['head_width'] == 64


def test_other_files_are_named():
    with pytest.raises(WeightMismatchError, match=r"no tensor 'ln_final\.weight', so it is no plain CLIP model"):
        infer_config({'conv.weight': torch.zeros(1)})
