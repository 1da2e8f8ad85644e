"""A Mask2Former checkpoint as MMSegmentation writes it becomes our head's, tensor for tensor, and comes back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from tiny_pmp_hosts import mask2former
from torch import Tensor

from denseclip.cli.main import main
from denseclip.weights import WeightMismatchError, read_checkpoint
from denseclip.weights.convert import convert


@pytest.fixture(scope='module')
def theirs() -> dict[str, Tensor]:
    init_default_scope('mmseg')
    torch.manual_seed(0)
    head = Config(mask2former()).decode_head
    head.type = 'mmseg.Mask2FormerHead'
    state = {f'decode_head.{key}': value for key, value in MODELS.build(head).state_dict().items()}
    return {'backbone.stem.0.weight': torch.randn(4, 3, 3, 3), **state}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize('prefix', ['decode_head.', 'panoptic_head.', ''])
def test_there_and_back(theirs: dict[str, Tensor], prefix: str) -> None:
    given = {key.replace('decode_head.', prefix): value for key, value in theirs.items() if prefix or 'head' in key}
    ours = convert(given, 'mmseg_mask2former')
    assert len(ours) == len(given) and same(convert(ours, 'mmseg_mask2former', inverse=True), given)
    assert {f'{prefix}decoder.classifier.weight', f'{prefix}pixel_decoder.level_embed'} <= set(ours)
    assert ('backbone.stem.0.weight' in ours) == bool(prefix)


def test_a_file_as_their_runner_writes_it(theirs: dict[str, Tensor], tmp_path: Path) -> None:
    source, target = tmp_path / 'iter_10.pth', tmp_path / 'ours.safetensors'
    torch.save({'meta': {'iter': 10}, 'state_dict': theirs, 'message_hub': {}}, source)
    assert main(['convert', 'weights', str(source), str(target), '--converter', 'mmseg_mask2former']) == 0
    found = dict(read_checkpoint(target).state_dict)
    assert same(convert(found, 'mmseg_mask2former', inverse=True), theirs)


def test_what_is_none_is_said(theirs: dict[str, Tensor]) -> None:
    with pytest.raises(WeightMismatchError, match='no Mask2Former of MMSeg'):
        convert({'decode_head.conv_seg.weight': torch.ones(1)}, 'mmseg_mask2former')
    with pytest.raises(WeightMismatchError, match='decode_head.extra.weight is no part'):
        convert({**theirs, 'decode_head.extra.weight': torch.ones(1)}, 'mmseg_mask2former')
