"""Tensors that are no weights are refused with the file's name."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from denseclip.weights import WeightFileError, read_checkpoint
from denseclip.weights.usable import require_usable


@pytest.mark.parametrize(
    ('tensor', 'words'),
    [
        (torch.empty(3, device='meta'), "'x' without its numbers"),
        (torch.eye(3).to_sparse(), "'x' as a sparse_coo tensor"),
        (torch.tensor([1.0, float('nan')]), "1 of 2 numbers of 'x' as NaN"),
        (torch.tensor([float('nan')], dtype=torch.bfloat16), 'NaN'),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, tensor: torch.Tensor, words: str) -> None:
    path = tmp_path / 'weights.pth'
    torch.save({'state_dict': {'a': torch.zeros(2), 'x': tensor}}, path)
    with pytest.raises(WeightFileError, match=f'weights.pth.*{words}'):
        read_checkpoint(path)


def test_nan_in_safetensors_is_refused_and_infinity_is_not(tmp_path: Path) -> None:
    save_file({'x': torch.tensor([float('nan')])}, tmp_path / 'nan.safetensors')
    with pytest.raises(WeightFileError, match='NaN'):
        read_checkpoint(tmp_path / 'nan.safetensors')
    mask = torch.full((2, 2), float('-inf'))
    require_usable({'both': torch.tensor([float('inf'), 0.0, float('-inf')]), 'none': torch.empty(0)}, 'file')
    require_usable({'mask': mask, 'ids': torch.arange(3), 'flags': torch.ones(2, dtype=torch.bool)}, 'file')


@pytest.mark.parametrize('name', ['weights.safetensors', 'weights.pth'])
@pytest.mark.parametrize('content', [b'not weights at all\n' * 3, b'\xff' * 64, (2).to_bytes(8, 'little') + b'[]'])
def test_what_is_no_weight_file_is_one_of_our_errors(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightFileError, match=name):
        read_checkpoint(tmp_path / name)


def test_a_damaged_archive_is_one_of_our_errors(tmp_path: Path) -> None:
    path = tmp_path / 'weights.pth'
    torch.save({'a': torch.zeros(2)}, path)
    whole = path.read_bytes()
    for place in range(len(whole) - 250, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        try:
            read_checkpoint(path)
        except WeightFileError as error:
            assert 'weights.pth' in str(error)
