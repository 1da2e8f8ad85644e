"""TorchScript archives are read as data."""

import pickle
import warnings
import zipfile

import pytest
import torch
from torch import nn

from denseclip.weights import UntrustedWeightsError, WeightFileError, read_checkpoint
from denseclip.weights.torchscript import read_torchscript

pytestmark = pytest.mark.filterwarnings('ignore:.*torch.jit.*:FutureWarning')


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1, bias=False)
        self.bn = nn.BatchNorm2d(4)
        self.inner = nn.Sequential(nn.ReLU(), nn.Linear(4, 2))
        self.sizes = [1, 2]
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.register_buffer('input_resolution', torch.tensor(224))

    def forward(self, x):
        return self.inner(self.bn(self.conv(x)).mean((2, 3))) * self.scale


def save(module, path, traced=True):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        script = torch.jit.trace(module, torch.zeros(1, 3, 2, 2)) if traced else torch.jit.script(module)
        torch.jit.save(script, str(path))
        return torch.jit.load(str(path)).float().state_dict()


@pytest.mark.parametrize('traced', [True, False])
@pytest.mark.parametrize('half', [True, False])
def test_equals_torch_jit(tmp_path, traced, half):
    torch.manual_seed(0)
    net = Net().eval()
    if half:  # traced in float32, stored in half precision, as OpenAI's archives are
        net.conv.weight.data = net.conv.weight.data.half().float()
    expected = save(net, tmp_path / 'net.pt', traced)
    state = read_torchscript(tmp_path / 'net.pt')
    assert set(state) == set(expected)
    for key, value in expected.items():
        assert torch.equal(state[key], value)
        assert state[key].dtype == value.dtype


def test_half_precision_is_widened(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        torch.jit.save(torch.jit.script(nn.Linear(3, 3).half()), str(tmp_path / 'h.pt'))
    checkpoint = read_checkpoint(tmp_path / 'h.pt')
    assert checkpoint.format == 'torchscript'
    assert {v.dtype for v in checkpoint.state_dict.values()} == {torch.float32}


def test_shared_and_strided_tensors(tmp_path):
    net = Net().eval()
    net.conv.weight.data = torch.randn(3, 4, 1, 1).transpose(0, 1)
    expected = save(net, tmp_path / 'net.pt')
    assert torch.equal(read_torchscript(tmp_path / 'net.pt')['conv.weight'], expected['conv.weight'])


class Evil:
    def __reduce__(self):
        return print, ('ran',)


def test_foreign_constructors_are_refused(tmp_path, capsys):
    with zipfile.ZipFile(tmp_path / 'evil.pt', 'w') as archive:
        archive.writestr('a/code/__torch__.py', '')
        archive.writestr('a/data.pkl', pickle.dumps(Evil()))
    with pytest.raises(UntrustedWeightsError, match=r'evil\.pt.*builtins\.print.*Nothing was run'):
        read_torchscript(tmp_path / 'evil.pt')
    assert 'ran' not in capsys.readouterr().out


def test_a_storage_shorter_than_its_tensor_is_damage(tmp_path):
    save(nn.Linear(4, 2), tmp_path / 'whole.pt', traced=False)
    with zipfile.ZipFile(tmp_path / 'whole.pt') as whole, zipfile.ZipFile(tmp_path / 'short.pt', 'w') as short:
        for name in whole.namelist():
            content = whole.read(name)
            short.writestr(name, content[:8] if '/data/' in name else content)
    with pytest.raises(WeightFileError, match='damaged TorchScript archive'):
        read_torchscript(tmp_path / 'short.pt')


def test_a_pickle_that_holds_no_module_is_damage(tmp_path):
    with zipfile.ZipFile(tmp_path / 'list.pt', 'w') as archive:
        archive.writestr('a/code/__torch__.py', '')
        archive.writestr('a/data.pkl', pickle.dumps([1, 2]))
    with pytest.raises(WeightFileError, match='damaged TorchScript archive'):
        read_torchscript(tmp_path / 'list.pt')


def test_other_zip_files_are_named(tmp_path):
    torch.save({'a': torch.zeros(1)}, tmp_path / 'plain.pt')
    with pytest.raises(WeightFileError, match='not a TorchScript archive'):
        read_torchscript(tmp_path / 'plain.pt')
