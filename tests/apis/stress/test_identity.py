"""Which changes make results those of something else."""

import os
import shutil

import pytest

from denseclip.apis.stress import load_subject
from denseclip.apis.stress.identity import fingerprint
from denseclip.files.shipped import here_or_shipped

CONFIG = 'configs/miniworld/proxyclip_vit-xs8_zs_miniworld-128x128.py'


@pytest.fixture
def given(root, tmp_path):
    """Options of a model whose weights and pictures are copies."""
    data = tmp_path / 'data'
    shutil.copytree(root, data)
    for name in ('miniworld_clip', 'miniworld_dino'):
        shutil.copytree(here_or_shipped(f'checkpoints/{name}'), tmp_path / name)
    dino = f'local-dir:{tmp_path}/miniworld_dino'
    return {
        'test_dataloader.dataset.data_root': str(data),
        'model.clip.model': f'local-dir:{tmp_path}/miniworld_clip',
        'model.affinity.dino.model_name': dino,
        'model.affinity.dino.pretrained': dino,
    }


def test_weights_pictures_labels_and_loader_count(given, tmp_path):
    def identity(**more):
        return load_subject(CONFIG, limit=2, overrides={**given, **more}, device='cpu').identity

    found = [identity()]
    assert identity() == found[0]
    for pattern in ('miniworld_clip/*.safetensors', 'miniworld_dino/*.safetensors'):
        os.utime(next(tmp_path.glob(pattern)), (1, 1))
        found.append(identity())
    subject = load_subject(CONFIG, limit=2, overrides=given, device='cpu')
    for file in list(subject.pictures.files())[-2:]:
        os.utime(file, (1, 1))
        found.append(identity())
    assert len(set(found)) == 5


def test_texts_that_are_no_weights_do_no_harm(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'naclip').mkdir()
    settings = {'preset': 'naclip', 'templates': ['a {} ' * 200, 'nul\0', '', '~nobody-here/x'], 'scale': 40.0}
    before = fingerprint(settings, ['none.png'])
    (tmp_path / 'naclip' / 'stress.json').write_text('{}')  # results in a folder that is called as the preset
    assert fingerprint(settings, ['none.png']) == before
    (tmp_path / 'none.png').write_bytes(b'1')
    assert fingerprint(settings, ['none.png']) != before


def test_the_data_config_counts():
    one = {'test_dataloader': {'dataset': {'reduce_zero_label': True}}}
    assert fingerprint(one, []) != fingerprint({'test_dataloader': {'dataset': {'reduce_zero_label': False}}}, [])
