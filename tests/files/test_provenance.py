"""Every file that is given to others says which version wrote it, when, and what it was made of."""

import ast
import hashlib
import re
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from tiny_text_clip import tiny_text_clip

from denseclip.clip.anomaly_prompts.learnt import LearntPair
from denseclip.clip.deep_prompts import CoupledPrompts, write_deep_prompts
from denseclip.clip.ready_text import write_ready_text
from denseclip.clip.vocabulary import Vocabulary
from denseclip.files.provenance import provenance
from denseclip.models.pixel_head import PixelGDAHead
from denseclip.models.pixel_head_file import write_head
from denseclip.version import __version__
from denseclip.weights.conversion import convert_file
from denseclip.weights.publish import publish

PACKAGE = Path(__file__).parents[2] / 'denseclip'
CACHES = {'text_cache.py', 'feature_store.py', 'vocabulary.py'}  # files that nobody is given
STATE = {'weight': torch.ones(3)}


def trained(folder):
    torch.save({'state_dict': STATE}, folder / 'run.pth')
    return folder / 'run.pth'


def a_head(folder):
    words = Vocabulary.from_names(['road', 'car'])
    numbers = dict(
        means=torch.zeros(2, 4), precision=torch.eye(4), priors=torch.full((2,), 0.5), quantiles=torch.ones(3)
    )
    return write_head(
        PixelGDAHead(**numbers, alpha=0.3, names=('road', 'car'), space={}, vocabulary=words), folder / 'h.safetensors'
    )


def converted(folder):
    torch.save({'state_dict': {'backbone.layer1.weight': torch.ones(3)}}, folder / 'run.pth')
    convert_file(folder / 'run.pth', folder / 'ours.safetensors', 'denseclip')
    return folder / 'ours.safetensors'


def a_clip(folder):
    tiny_text_clip(folder / 'clip')
    return folder / 'clip' / 'open_clip_model.safetensors'


WRITERS = {
    'publish': lambda folder: publish(trained(folder), folder / 'out.safetensors', metadata={'licence': 'MIT'}).path,
    'convert': lambda folder: converted(folder),
    'head of adapt': a_head,
    'folder of a CLIP': a_clip,
    'deep prompts': lambda folder: write_deep_prompts(CoupledPrompts(8, 8, 1, 1), folder),
    'learnt prompts': lambda folder: LearntPair(8, 3).write(folder / 'pair.safetensors'),
    'embeddings': lambda folder: write_ready_text(folder / 'e.safetensors', ['sky'], torch.ones(1, 4), 'tiny'),
}


@pytest.mark.parametrize('name', WRITERS)
def test_a_published_file_says_where_it_comes_from(name, tmp_path, monkeypatch):
    monkeypatch.setenv('SOURCE_DATE_EPOCH', '86400')
    with safe_open(WRITERS[name](tmp_path), framework='pt') as file:
        said = file.metadata()
    assert (said['denseclip'], said['written']) == (__version__, '1970-01-02T00:00:00Z')
    if name in ('publish', 'convert'):
        assert said['source'] == 'run.pth'
        assert said['source_sha256'] == hashlib.sha256((tmp_path / 'run.pth').read_bytes()).hexdigest()


def test_no_folder_of_this_machine_is_in_it(tmp_path):
    path = trained(tmp_path)
    said = provenance(path, tmp_path / 'own_config.py')
    assert str(tmp_path) not in str(said) and (said['source'], said['config']) == ('run.pth', 'own_config.py')
    assert provenance(f'local-dir:{tmp_path}/mine')['source'] == 'mine'
    assert provenance('hf-hub:org/name@1')['source'] == 'hf-hub:org/name@1'
    assert 'source' not in provenance() and re.fullmatch(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ', provenance()['written'])


@pytest.mark.parametrize(
    ('source', 'said'),
    [
        ('https://ann:s3cret@some.where:8443/a/net.pth', 'https://some.where:8443/a/net.pth'),
        ('https://some.where/net.pth?X-Amz-Signature=s3cret&token=s3cret', 'https://some.where/net.pth'),
        (f'HTTPS://u@h/net.pth?t=s3cret#token=s3cret&sha256={"0a" * 32}', f'HTTPS://h/net.pth#sha256={"0a" * 32}'),
        ('http://h/net.pth#s3cret', 'http://h/net.pth'),
        ('https://s3cret@h', 'https://h'),
        ('s3://key:s3cret@bucket/net.pth?token=s3cret', 's3://bucket/net.pth'),
        ('torchvision://resnet50', 'torchvision://resnet50'),
        ('file:///home/s3cret/net.pth?token=s3cret', 'net.pth'),
        (Path('https://ann:s3cret@h/net.pth?token=s3cret'), 'https://h/net.pth'),
        ('weights/100%#1?.pth', '100%#1?.pth'),
    ],
)
def test_nothing_that_opens_a_door_is_in_it(source, said):
    assert provenance(source)['source'] == said


def test_every_writer_of_weights_says_it():
    """A call of ``write_safetensors`` without it is of a cache, or forgotten."""
    silent = []
    for path in sorted(PACKAGE.rglob('*.py')):
        source = path.read_text(encoding='utf-8')
        calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
        writes = [call for call in calls if ast.unparse(call.func) == 'write_safetensors']
        if writes and 'provenance(' not in source and path.name not in CACHES:
            silent.append(path.name)
    assert silent == []
