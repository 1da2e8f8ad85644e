"""tools/convert_checkpoint.py on small files of the authors' layout."""

import sys
from pathlib import Path

import pytest
import torch

from denseclip.weights import read_checkpoint

sys.path.insert(0, str(Path(__file__).parents[2] / 'tools'))
import convert_checkpoint

OFFICIAL = {
    'contexts': torch.randn(1, 2, 4),
    'backbone.conv3.weight': torch.randn(2, 2),
    'text_encoder.text_projection': torch.randn(4, 3),
    'decode_head.conv_seg.weight': torch.randn(2, 2),
}


@pytest.fixture
def official(tmp_path):
    path = tmp_path / 'theirs.pth'
    torch.save({'meta': {'CLASSES': ('wall', 'sky'), 'PALETTE': [[0, 0, 0]]}, 'state_dict': OFFICIAL}, path)
    return path


@pytest.mark.parametrize('suffix', ['.safetensors', '.pth'])
def test_there_and_back_is_exact(official, tmp_path, suffix, capsys):
    ours, theirs = tmp_path / f'ours{suffix}', tmp_path / f'again{suffix}'
    convert_checkpoint.main([str(official), str(ours)])
    assert 'backbone.tower.visual.conv3.weight' in read_checkpoint(ours).state_dict
    convert_checkpoint.main([str(ours), str(theirs), '--inverse'])
    again = read_checkpoint(theirs).state_dict
    assert set(again) == set(OFFICIAL)
    assert all(torch.equal(again[key], value) for key, value in OFFICIAL.items())
    assert '4 tensors' in capsys.readouterr().out


def test_class_names_travel_along(official, tmp_path):
    convert_checkpoint.main([str(official), str(tmp_path / 'ours.pth')])
    assert tuple(read_checkpoint(tmp_path / 'ours.pth').meta['CLASSES']) == ('wall', 'sky')


def test_an_existing_target_is_kept(official, tmp_path):
    target = tmp_path / 'ours.pth'
    target.write_bytes(b'mine')
    with pytest.raises(SystemExit, match='--force'):
        convert_checkpoint.main([str(official), str(target)])
    assert target.read_bytes() == b'mine'
    convert_checkpoint.main([str(official), str(target), '--force'])
    assert read_checkpoint(target).state_dict


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['missing.pth', 'out.pth'], 'missing.pth'),
        (['--converter', 'efficientnet_lite'], 'do not fit'),
        (['--converter', 'openai_clip', '--inverse'], 'one direction'),
    ],
)
def test_errors_are_one_line(official, tmp_path, arguments, message):
    if arguments[0].startswith('--'):
        arguments = [str(official), str(tmp_path / 'out.pth'), *arguments]
    with pytest.raises(SystemExit, match=message):
        convert_checkpoint.main(arguments)
