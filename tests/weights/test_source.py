"""Names of weight sources become paths."""

import sys

import pytest
import torch

from denseclip.weights import WeightFileError, resolve, weight_file, write_safetensors


def test_plain_paths(tmp_path):
    (tmp_path / 'w.pth').touch()
    assert resolve(tmp_path / 'w.pth') == tmp_path / 'w.pth'
    with pytest.raises(FileNotFoundError, match=r'nothing\.pth.*does not exist'):
        resolve(tmp_path / 'nothing.pth')


def test_local_dir(tmp_path):
    assert resolve(f'local-dir:{tmp_path}') == tmp_path
    with pytest.raises(FileNotFoundError, match='no such folder'):
        resolve(f'local-dir:{tmp_path}/no')


@pytest.mark.parametrize('scheme', ['local-dir', 'hf-hub', 'package'])
def test_empty_names_show_an_example(scheme):
    with pytest.raises(ValueError, match=f"nothing follows '{scheme}:'; write for example '{scheme}:"):
        resolve(f'{scheme}:')


def test_package_is_found_without_importing_it(tmp_path, monkeypatch):
    (tmp_path / 'heavy_pkg' / 'data').mkdir(parents=True)
    (tmp_path / 'heavy_pkg' / '__init__.py').write_text('raise RuntimeError("imported")')
    (tmp_path / 'heavy_pkg' / 'data' / 'w.bin').touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert resolve('package:heavy_pkg/data/w.bin') == tmp_path / 'heavy_pkg' / 'data' / 'w.bin'
    assert resolve('package:heavy_pkg/data').is_dir()
    assert 'heavy_pkg' not in sys.modules
    with pytest.raises(FileNotFoundError, match="installed but holds no 'data/x'"):
        resolve('package:heavy_pkg/data/x')


def test_package_errors():
    with pytest.raises(FileNotFoundError, match='pip install no-such-thing'):
        resolve('package:no_such_thing/model')
    with pytest.raises(ValueError, match=r"without '\.\.'"):
        resolve('package:torch/../secret')


def test_weight_file_prefers_safetensors(tmp_path):
    with pytest.raises(WeightFileError, match='holds no weight file'):
        weight_file(tmp_path)
    for name in ('z.bin', 'b.pth', 'a.safetensors', 'pytorch_model.bin', 'open_clip_model.safetensors'):
        (tmp_path / name).touch()
    assert weight_file(tmp_path).name == 'open_clip_model.safetensors'
    (tmp_path / 'open_clip_model.safetensors').unlink()
    assert weight_file(tmp_path).name == 'pytorch_model.bin'
    (tmp_path / 'pytorch_model.bin').unlink()
    assert weight_file(tmp_path).name == 'a.safetensors'
    assert weight_file(tmp_path / 'b.pth').name == 'b.pth'


def hub_cache(root, repository='org/clip', commit='a' * 40):
    """A Hugging Face hub cache with one snapshot of one repository."""
    base = root / f'models--{repository.replace("/", "--")}'
    (base / 'refs').mkdir(parents=True)
    (base / 'refs' / 'main').write_text(commit)
    snapshot = base / 'snapshots' / commit
    snapshot.mkdir(parents=True)
    (snapshot / 'open_clip_config.json').write_text('{}')
    write_safetensors({'x': torch.zeros(1)}, snapshot / 'open_clip_model.safetensors')
    return snapshot


def test_safetensors_are_looked_for_beside_weights_of_another_name(tmp_path, monkeypatch):
    import huggingface_hub

    snapshot = hub_cache(tmp_path)
    (snapshot / 'open_clip_model.safetensors').unlink()
    (snapshot / 'sam3.pt').touch()
    asked = []

    def fetch(repository, file, **_):
        asked.append(file)
        if file != 'model.safetensors' or not online:
            raise FileNotFoundError(file)
        (snapshot / file).touch()

    monkeypatch.setattr(huggingface_hub, 'hf_hub_download', fetch)
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_OFFLINE', True)
    online = False
    assert weight_file(resolve('hf-hub:org/clip', cache_dir=tmp_path)).name == 'sam3.pt'
    assert asked and all(name.endswith('.safetensors') for name in asked)
    online = True
    assert weight_file(resolve('hf-hub:org/clip', cache_dir=tmp_path)).name == 'model.safetensors'
    asked.clear()
    resolve('hf-hub:org/clip', cache_dir=tmp_path)
    assert not asked


def test_hub_cache_works_offline(tmp_path, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_OFFLINE', True)  # what HF_HUB_OFFLINE=1 sets at start
    snapshot = hub_cache(tmp_path)
    assert resolve('hf-hub:org/clip', cache_dir=tmp_path) == snapshot
    assert resolve('hf-hub:org/clip@main', cache_dir=tmp_path) == snapshot
    with pytest.raises(FileNotFoundError, match=r"'hf-hub:org/other' is neither in the hub cache.*local-dir:FOLDER"):
        resolve('hf-hub:org/other', cache_dir=tmp_path)


def test_hub_snapshot_without_weights(tmp_path, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_OFFLINE', True)
    (hub_cache(tmp_path) / 'open_clip_model.safetensors').unlink()
    with pytest.raises(FileNotFoundError, match=r'has none of open_clip_model\.safetensors'):
        resolve('hf-hub:org/clip', cache_dir=tmp_path)
