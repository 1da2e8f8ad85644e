"""Weights by an address are compared with their sum and read as data, through whichever door of MMEngine they come."""

import hashlib
import io
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from file_server import serving
from mmengine.model import BaseModule
from mmengine.runner import CheckpointLoader
from mmengine.runner import checkpoint as mmengine_checkpoint

from denseclip.compat import addresses
from denseclip.compat.addresses import expected_sum, fetched
from denseclip.engine.checkpoints import read_training_file
from denseclip.files.download import DownloadError
from denseclip.weights import UntrustedWeightsError, WeightFileError, read_state_dict, resolve

STATE = {'weight': torch.arange(8.0).reshape(2, 4), 'bias': torch.ones(2)}


class Marker:
    """Prints a word when it is unpickled."""

    def __reduce__(self):
        return print, ('it ran',)


def saved(content):
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


@pytest.fixture(autouse=True)
def own_torch_home(tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))


def through_init_cfg(url):
    module = BaseModule(dict(type='Pretrained', checkpoint=url))
    module.register_parameter('weight', torch.nn.Parameter(torch.zeros(2, 4)))
    module.register_parameter('bias', torch.nn.Parameter(torch.zeros(2)))
    module.init_weights()
    return module.state_dict()


def through_a_name(url):
    """As ``torchvision://`` names do it: they become addresses inside MMEngine."""
    return mmengine_checkpoint.load_from_http(url)['state_dict']


DOORS = {
    'load_from': lambda url: read_training_file(url)['state_dict'],
    'loader': lambda url: CheckpointLoader.load_checkpoint(url)['state_dict'],
    'name': through_a_name,
    'init_cfg': through_init_cfg,
    'weights': lambda url: read_state_dict(resolve(url)),
}


@pytest.mark.parametrize('door', DOORS)
def test_weights_are_those_of_the_file(door):
    with serving(saved({'state_dict': STATE, 'meta': {'epoch': 1}})) as server:
        found = DOORS[door](server.url)
        assert found.keys() == STATE.keys() and all(torch.equal(found[name], STATE[name]) for name in STATE)
        DOORS[door](server.url)
    assert len(server.asked) == 1  # the second time it is here


@pytest.mark.parametrize('door', DOORS)
def test_code_in_it_is_not_run(door, capsys):
    with serving(saved({'state_dict': STATE, 'more': Marker()})) as server:
        with pytest.raises(UntrustedWeightsError, match="asks for 'print'.*Nothing was run"):
            DOORS[door](server.url)
        assert 'it ran' not in capsys.readouterr().out
        assert read_training_file(server.url, trust=True)['state_dict'].keys() == STATE.keys()
    assert 'it ran' in capsys.readouterr().out


@pytest.mark.parametrize('door', DOORS)
@pytest.mark.parametrize('where', ['name', 'fragment'])
def test_another_file_than_the_address_names_is_refused(door, where):
    right, wrong = saved({'state_dict': STATE}), saved({'state_dict': {'weight': torch.zeros(2, 4)}})
    total = hashlib.sha256(right).hexdigest()
    name = f'net-{total[:8]}.pth' if where == 'name' else 'net.pth'
    with serving(wrong, name) as server:
        url = server.url + (f'#sha256={total}' if where == 'fragment' else '')
        with pytest.raises(DownloadError, match=rf'not the expected file.*not {total[:8]}'):
            DOORS[door](url)
        server.content = right
        assert torch.equal(DOORS[door](url)['weight'], STATE['weight'])


def test_a_kept_file_is_compared_each_time():
    content = saved({'state_dict': STATE})
    total = hashlib.sha256(content).hexdigest()
    with serving(content, f'net-{total[:8]}.pth') as server:
        path = fetched(server.url)
        path.write_bytes(content[:-1] + b'?')
        with pytest.raises(DownloadError, match=rf'{path.name}.*its sha256 is.*Remove it'):
            fetched(server.url)


@pytest.mark.parametrize('named', [True, False])
def test_those_who_want_one_file_at_once_fetch_it_once(named, tmp_path):
    """Two at a time, as the processes of one training; the second one used to append to the file of the first."""
    content = saved({'state_dict': STATE})
    total = hashlib.sha256(content).hexdigest()
    with serving(content, f'net-{total[:8]}.pth' if named else 'net.pth') as server, ThreadPoolExecutor() as pool:
        server.pause, server.etag = 0.1, '"one"'
        paths = list(pool.map(fetched, [server.url] * 3))
        assert server.asked == [None]
    assert len(set(paths)) == 1 and paths[0].read_bytes() == content
    assert list(paths[0].parent.iterdir()) == [paths[0]]


def test_a_file_that_is_here_is_not_read_where_no_sum_is_wanted(monkeypatch):
    with serving(saved({'state_dict': STATE})) as server:
        path = fetched(server.url)
        monkeypatch.delattr('denseclip.files.download.digest')
        assert fetched(server.url) == path


def test_an_address_without_a_sum_tells_its_sum(monkeypatch):
    told = []
    monkeypatch.setattr(addresses, '_tell', told.append)
    content = saved({'state_dict': STATE})
    total = hashlib.sha256(content).hexdigest()
    with serving(content) as server:
        fetched(server.url)
        assert len(told) == 1 and server.url in told[0] and f'#sha256={total}' in told[0]
        assert fetched(f'{server.url}#sha256={total}').read_bytes() == content
        with pytest.raises(DownloadError, match='not the expected file'):
            fetched(f'{server.url}#sha256={"0" * 64}')


def test_equal_names_from_two_places_are_two_files():
    with serving(saved({'state_dict': STATE})) as one, serving(saved({'state_dict': {'weight': torch.ones(1)}})) as two:
        first, second = (read_training_file(server.url)['state_dict'] for server in (one, two))
    assert first.keys() == STATE.keys() and second.keys() == {'weight'}


@pytest.mark.parametrize(
    ('url', 'found'),
    [
        ('https://download.pytorch.org/models/resnet50-0676ba61.pth', '0676ba61'),
        ('https://download.openmmlab.com/x/fcn_r50_20200605_022449-acadc2f8.pth?dl=1', 'acadc2f8'),
        ('https://some.where/net-20240131.pth', None),
        ('https://some.where/vit-base.pth', None),
        (f'https://some.where/net-0676ba61.pth#sha256={"AB" * 32}', 'ab' * 32),
    ],
)
def test_what_an_address_says_of_its_file(url, found):
    assert expected_sum(url) == found


def test_a_sum_that_is_none():
    with pytest.raises(DownloadError, match='64 hexadecimal digits'):
        expected_sum('https://some.where/net.pth#sha256=12')


@pytest.mark.parametrize('door', ['loader', 'init_cfg', 'load_from'])
def test_a_damaged_file_of_this_machine_is_named(door, tmp_path):
    path, content = tmp_path / 'own.pth', saved({'state_dict': STATE})
    place = content.index(STATE['weight'].numpy().tobytes()) + 6
    path.write_bytes(content[:place] + b'\x55' + content[place + 1 :])
    with pytest.raises((WeightFileError, ValueError), match=r"own\.pth' is damaged.*CRC-32"):
        DOORS[door](str(path))
