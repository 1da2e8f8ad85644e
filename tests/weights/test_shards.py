"""Weights in several files: all of them, or the name of the missing one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from denseclip.weights import WeightFileError, read_checkpoint, read_state_dict, resolve, weight_file, write_safetensors

STATE = {f'layer{n}.weight': torch.full((2, 2), float(n)) for n in range(6)}


def shards(folder: Path, suffix: str = 'safetensors', index: bool = True) -> list[Path]:
    names = [f'model-{n + 1:05d}-of-00003.{suffix}' for n in range(3)]
    where = {key: names[number // 2] for number, key in enumerate(STATE)}
    for name in names:
        part = {key: value for key, value in STATE.items() if where[key] == name}
        write_safetensors(part, folder / name) if suffix == 'safetensors' else torch.save(part, folder / name)
    if index:
        (folder / f'model.{suffix}.index.json').write_text(json.dumps({'metadata': {}, 'weight_map': where}))
    return [folder / name for name in names]


def same(state: dict[str, torch.Tensor]) -> bool:
    return set(state) == set(STATE) and all(torch.equal(state[key], STATE[key]) for key in STATE)


@pytest.mark.parametrize('suffix', ['safetensors', 'bin'])
@pytest.mark.parametrize('index', [True, False])
def test_folder_index_and_any_shard_stand_for_all(tmp_path: Path, suffix: str, index: bool) -> None:
    files = shards(tmp_path, suffix, index)
    for source in (f'local-dir:{tmp_path}', str(tmp_path), *map(str, files)):
        assert same(read_state_dict(weight_file(resolve(source))))
    if index:
        assert same(read_checkpoint(tmp_path / f'model.{suffix}.index.json').state_dict)


@pytest.mark.parametrize('index', [True, False])
def test_a_missing_shard_is_named(tmp_path: Path, index: bool) -> None:
    shards(tmp_path, index=index)[1].unlink()
    with pytest.raises(FileNotFoundError, match=r'1 of its 3 shards are not there: model-00002-of-00003\.safetensors'):
        read_state_dict(weight_file(tmp_path))


def test_a_shard_that_lacks_what_the_index_promises(tmp_path: Path) -> None:
    files = shards(tmp_path)
    write_safetensors({'layer2.weight': STATE['layer2.weight']}, files[1])
    with pytest.raises(WeightFileError, match=r"model-00002-of-00003\.safetensors lacks 'layer3\.weight'"):
        read_state_dict(weight_file(tmp_path))


def test_a_name_in_two_shards(tmp_path: Path) -> None:
    files = shards(tmp_path, index=False)
    write_safetensors({'layer0.weight': torch.zeros(2)}, files[2])
    with pytest.raises(WeightFileError, match=r"model-00003-of-00003\.safetensors holds 'layer0\.weight' once more"):
        read_state_dict(files[0])


@pytest.mark.parametrize(
    'text', ['{broken', '[]', '{"weight_map": {"a": "../../outside.safetensors"}}', '{"weight_map": 3}', '{}']
)
def test_a_file_that_is_no_index(tmp_path: Path, text: str) -> None:
    (tmp_path / 'model.safetensors.index.json').write_text(text)
    with pytest.raises(WeightFileError, match=r'model\.safetensors\.index\.json.* is no index'):
        read_state_dict(weight_file(tmp_path))


def test_one_whole_file_is_preferred(tmp_path: Path) -> None:
    shards(tmp_path)[0].unlink()
    write_safetensors(STATE, tmp_path / 'model.safetensors')
    assert same(read_state_dict(weight_file(tmp_path)))


def test_a_damaged_shard_is_named(tmp_path: Path) -> None:
    shards(tmp_path)[1].write_bytes(b'')
    with pytest.raises(WeightFileError, match=r'model-00002-of-00003\.safetensors.* is empty'):
        read_state_dict(weight_file(tmp_path))
