"""The architecture of a plain CLIP file, told from its tensors."""

import open_clip
import pytest
import torch

from denseclip.clip.architecture import infer_config
from denseclip.weights import WeightMismatchError

MODELS = ['RN50', 'RN101', 'RN50x4', 'RN50x16', 'RN50x64', 'ViT-B-32', 'ViT-B-16', 'ViT-L-14', 'ViT-L-14-336']


@pytest.mark.parametrize('name', MODELS)
def test_every_openai_model(name):
    config = open_clip.get_model_config(name)
    with torch.device('meta'):
        expected = open_clip.CLIP(**config).state_dict()
        found = infer_config(expected)
        again = open_clip.CLIP(**found)
    assert {k: v.shape for k, v in again.state_dict().items()} == {k: v.shape for k, v in expected.items()}
    assert found['text_cfg']['heads'] == config['text_cfg']['heads']
    assert found['vision_cfg']['image_size'] == config['vision_cfg']['image_size']
    if isinstance(config['vision_cfg']['layers'], int):
        with torch.device('meta'):
            heads = [open_clip.CLIP(**c).visual.transformer.resblocks[0].attn.num_heads for c in (config, found)]
        assert heads[0] == heads[1]
    else:
        assert again.visual.attnpool.num_heads == found['vision_cfg']['width'] // 2


def test_other_files_are_named():
    with pytest.raises(WeightMismatchError, match=r"no tensor 'ln_final\.weight', so it is no plain CLIP model"):
        infer_config({'conv.weight': torch.zeros(1)})
