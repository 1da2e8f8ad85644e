"""The plain order of operations of open-vocabulary models says what ours says."""

import pytest
import torch
from mmseg.structures import SegDataSample
from tiny_open_vocab import READY, tiny_open_vocab

from denseclip.engine.benchmark.variants import require_plain, variant
from denseclip.engine.config import OptionError

SLIDE = dict(mode='slide', crop_size=(64, 64), stride=(32, 32), window_batch=3)
PLAIN_MODELS = [(name, {}, SLIDE) for name in READY if name != 'trident'] + [
    ('corrclip', {}, dict(mode='whole')),
    ('cass', {}, dict(mode='whole')),
    ('lposs', dict(spread=dict(pixels={})), SLIDE),
    ('lposs', {}, dict(mode='whole')),
]


@torch.no_grad()
@pytest.mark.parametrize(('name', 'settings', 'config'), PLAIN_MODELS)
def test_every_preset_has_a_plain_version(name, settings, config):
    model = tiny_open_vocab(name, **settings, test_cfg=config)
    require_plain(model)
    images = torch.randn(1, 3, 72, 96, generator=torch.Generator().manual_seed(0))
    samples = [SegDataSample(metainfo=dict(ori_shape=(80, 107)))]
    ours = model.predict(images, samples)[0].pred_sem_seg.data.clone()
    with variant(model, 'plain'):
        plain = model.predict(images, samples)[0].pred_sem_seg.data
    assert ours.unique().numel() > 1 and (plain == ours).float().mean() > 0.999


def test_classes_that_are_chosen_have_none():
    model = tiny_open_vocab('maskclip', test_cfg=dict(active_vocabulary='dense'))
    with pytest.raises(OptionError, match='active_vocabulary'):
        require_plain(model)
    with pytest.raises(OptionError, match='Segment Anything sees whole pictures'):
        require_plain(tiny_open_vocab('trident'))
