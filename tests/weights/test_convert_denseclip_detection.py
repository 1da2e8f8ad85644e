"""The authors' detection checkpoints, written as they are and loaded as users do."""

import pytest
import torch
from tiny_detectors import tiny_detector

from denseclip.engine.checkpoints import load_weights, read_training_file
from denseclip.weights import WeightMismatchError
from denseclip.weights.convert import convert


def released_file(model, path):
    """A file like the authors': an mmcv runner's dictionary, CLIP's names, no ``text`` buffers."""
    state = convert(model.state_dict(), 'denseclip', inverse=True)
    meta = dict(mmdet_version='2.17.0', config='raise SystemExit', CLASSES=('person', 'bicycle'), epoch=12)
    torch.save({'meta': meta, 'state_dict': state, 'optimizer': {'state': {}, 'param_groups': []}}, path)
    return state


@pytest.mark.parametrize('kind', ['retinanet', 'mask-rcnn'])
def test_a_released_file_loads_strictly_and_back(kind, tmp_path):
    written, model = tiny_detector(kind), tiny_detector(kind)
    theirs = released_file(written, tmp_path / 'released.pth')
    assert 'backbone.attnpool.positional_embedding' in theirs and 'text_encoder.text_projection' in theirs
    content = read_training_file(str(tmp_path / 'released.pth'))
    assert 'config' not in content['meta']
    assert not load_weights(model, content['state_dict'], source='released.pth', strict=True)
    found = convert(model.state_dict(), 'denseclip', inverse=True)
    assert list(found) == list(theirs) and all(torch.equal(found[k], v) for k, v in theirs.items())


def test_a_file_of_the_other_detector_is_refused(tmp_path):
    released_file(tiny_detector('retinanet'), tmp_path / 'retinanet.pth')
    content = read_training_file(str(tmp_path / 'retinanet.pth'))
    with pytest.raises(WeightMismatchError, match='missing'):
        load_weights(tiny_detector('mask-rcnn'), content['state_dict'], source='retinanet.pth', strict=True)
