"""Parts of a config that no run can take are named before anything is built."""

from typing import Any

import pytest

from denseclip.engine.config_shape import faults

SOUND: dict[str, Any] = {
    'model': {'type': 'EncoderDecoder', 'decode_head': [{'num_classes': 3}, {'num_classes': None}]},
    'train_cfg': {'max_iters': 3, 'val_interval': 1},
    'default_hooks': {'checkpoint': {'interval': -1}, 'logger': None},
    'randomness': {'seed': None},
    'train_dataloader': {
        'dataset': {'type': 'RepeatDataset', 'dataset': {'metainfo': {'classes': ('a', 'b')}}},
        'batch_size': 1,
    },
    'test_dataloader': {'dataset': {'type': 'ConcatDataset', 'datasets': [{'metainfo': {'classes': 'names.txt'}}, {}]}},
}


def test_a_sound_config_has_none() -> None:
    assert list(faults(SOUND)) == []


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        ({'model': {'type': 'a', 'heads': [{'num_classes': 0}]}}, 'model.heads.0.num_classes must be a whole number'),
        ({'model': {'type': 'a', 'num_classes': True}}, 'at least 1, not True'),
        ({'train_cfg': {'val_interval': 0}}, 'train_cfg.val_interval must be a whole number of at least 1, not 0'),
        (
            {'randomness': {'seed': 'x'}},
            "randomness.seed must be a whole number from 0 to 4294967295, or None, not 'x'",
        ),
        ({'randomness': {'seed': 2**32}}, 'randomness.seed'),
        ({'default_hooks': {'checkpoint': {'interval': 'often'}}}, 'checkpoint.interval must be a whole number'),
        ({'val_dataloader': {'dataset': {'metainfo': {'classes': 3}}}}, 'val_dataloader.dataset.metainfo.classes must'),
        (
            {'val_dataloader': {'dataset': {'datasets': [{}, {'dataset': {'metainfo': {'classes': ['a', 5]}}}]}}},
            'val_dataloader.dataset.datasets.1.dataset.metainfo.classes must be a list of names',
        ),
    ],
)
def test_faults_name_the_key_and_the_value(change: dict[str, Any], said: str) -> None:
    (found,) = faults({**SOUND, **change})
    assert said in found
