"""What may and what may not be read from a checkpoint."""

import collections
import io
import os
import pickle

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub

from denseclip.compat.checkpoints import allow_mmengine_checkpoints, restricted_getattr


def _saved(obj):
    buffer = io.BytesIO()
    torch.save(obj, buffer)
    buffer.seek(0)
    return buffer


def test_runner_checkpoint_loads(tmp_path):
    """The whole of what a Runner saves: weights, optimizer, schedulers, history and NumPy scalars."""
    from mmengine.hooks import CheckpointHook
    from mmengine.model import BaseModel
    from mmengine.runner import Runner
    from torch.utils.data import DataLoader

    class Toy(BaseModel):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(2, 1)

        def forward(self, inputs, mode='tensor'):
            return {'loss': self.layer(torch.stack(inputs)).square().mean()}

    runner = Runner(
        Toy(),
        work_dir=str(tmp_path),
        train_dataloader=DataLoader([torch.ones(2)] * 4, batch_size=2, collate_fn=lambda samples: {'inputs': samples}),
        train_cfg={'by_epoch': True, 'max_epochs': 2},
        optim_wrapper={'optimizer': {'type': 'AdamW', 'lr': 0.1}},
        param_scheduler={'type': 'LinearLR', 'by_epoch': False, 'start_factor': 0.5, 'end': 4},
        default_hooks={'checkpoint': CheckpointHook(interval=1)},
        experiment_name='test_runner_checkpoint_loads',
        log_level='ERROR',
    )
    runner.message_hub.update_scalar('val/score', np.float64(0.5))
    runner.message_hub.update_info('best', np.float32(0.25))
    runner.train()
    loaded = torch.load(tmp_path / 'epoch_2.pth', weights_only=True)
    assert loaded['state_dict'].keys() == runner.model.state_dict().keys()
    assert loaded['optimizer']['state']
    history = loaded['message_hub']['log_scalars']['train/loss']
    assert isinstance(history, HistoryBuffer)
    assert history.mean() == runner.message_hub.get_scalar('train/loss').mean()
    assert loaded['message_hub']['log_scalars']['val/score'].current() == 0.5
    assert loaded['message_hub']['runtime_info']['best'] == np.float32(0.25)
    resumed = MessageHub.get_instance('test_runner_checkpoint_resumed')
    resumed.load_state_dict(loaded['message_hub'])
    assert resumed.get_scalar('train/loss').statistics('current') == history.current()


@pytest.mark.parametrize(
    'value',
    [
        np.float32(1.5),
        np.int64(3),
        np.bool_(True),
        np.arange(6, dtype=np.uint8).reshape(2, 3),
        np.array(['road', 'sky']),
        np.random.RandomState(0).get_state(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_numpy_values_load(value):
    loaded = torch.load(_saved({'value': value}), weights_only=True)['value']
    np.testing.assert_equal(loaded, value)


class _Global:
    """Pickles as a call of any global with any arguments."""

    def __init__(self, module, name, args):
        self.function, self.args = _Name(module, name), args


class _Name:
    """Pickles as a reference to a global."""

    def __init__(self, module, name):
        self.__module__, self.__qualname__ = module, name


class _Pickler(pickle._Pickler):
    """Writes `_Name` objects as plain global references, so that nothing dangerous is ever built here."""

    def save(self, obj, save_persistent_id=True):
        if isinstance(obj, _Name):
            self.write(pickle.GLOBAL + f'{obj.__module__}\n{obj.__qualname__}\n'.encode())
        elif isinstance(obj, _Global):
            self.save(obj.function)
            self.save(obj.args)
            self.write(pickle.REDUCE)
        else:
            super().save(obj, save_persistent_id)


def _dumps(obj):
    buffer = io.BytesIO()
    _Pickler(buffer, 2).dump(obj)
    return buffer.getvalue()


def _zip_with(payload):
    """A torch archive whose pickle is `payload`."""
    import zipfile

    original = zipfile.ZipFile(_saved({}))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w', zipfile.ZIP_STORED) as archive:
        for item in original.infolist():
            archive.writestr(item, payload if item.filename.endswith('data.pkl') else original.read(item.filename))
    buffer.seek(0)
    return buffer


@pytest.mark.parametrize('package', ['numpy.core', 'numpy._core'])
def test_names_of_both_numpy_generations_load(package):
    scalar = _Global(f'{package}.multiarray', 'scalar', (np.dtype('f8'), np.float64(2.5).tobytes()))
    assert torch.load(_zip_with(_dumps({'value': scalar})), weights_only=True) == {'value': 2.5}


HISTORY = _Name('mmengine.logging.history_buffer', 'HistoryBuffer')


def _getattr(owner, name):
    return _Global('builtins', 'getattr', (owner, name))


ATTACKS = {
    'system': lambda flag: _Global('os', 'system', (f'touch {flag}',)),
    'posix': lambda flag: _Global('posix', 'system', (f'touch {flag}',)),
    'eval': lambda flag: _Global('builtins', 'eval', (f'open({str(flag)!r}, "w")',)),
    'exec': lambda flag: _Global('builtins', 'exec', (f'open({str(flag)!r}, "w")',)),
    'open': lambda flag: _Global('builtins', 'open', (str(flag), 'w')),
    'subprocess': lambda flag: _Global('subprocess', 'call', (['touch', str(flag)],)),
    'import': lambda flag: _Global('importlib', 'import_module', ('os',)),
    'getattr dunder': lambda flag: _getattr(HISTORY, '__subclasses__'),
    'getattr globals': lambda flag: _getattr(_getattr(HISTORY, 'mean'), '__globals__'),
    'getattr private': lambda flag: _getattr(HISTORY, '_set_default_statistics'),
    'getattr other owner': lambda flag: _getattr(_Name('numpy', 'ndarray'), 'tofile'),
    'getattr itself': lambda flag: _getattr(_Name('builtins', 'getattr'), '__globals__'),
    'call an attribute': lambda flag: _Global('builtins', 'getattr', (HISTORY, 'register_statistics')),
}


@pytest.mark.parametrize('attack', ATTACKS.values(), ids=ATTACKS)
def test_code_in_a_checkpoint_is_not_run(attack, tmp_path):
    flag = tmp_path / 'owned'
    with pytest.raises(pickle.UnpicklingError, match='Weights only load failed'):
        torch.load(_zip_with(_dumps({'state_dict': attack(flag)})), weights_only=True)
    assert not flag.exists()


def test_the_attacks_are_real(tmp_path):
    """The same file does run its code when it is read without protection."""
    flag = tmp_path / 'owned'
    torch.load(_zip_with(_dumps(ATTACKS['system'](flag))), weights_only=False)
    assert flag.exists()


def test_result_of_getattr_cannot_be_called():
    payload = io.BytesIO()
    pickler = _Pickler(payload, 2)
    pickler.write(pickle.PROTO + b'\x02')
    pickler.save(_getattr(HISTORY, 'mean'))
    pickler.save((1,))
    pickler.write(pickle.REDUCE + pickle.STOP)
    with pytest.raises(pickle.UnpicklingError, match='unrecognized function'):
        torch.load(_zip_with(payload.getvalue()), weights_only=True)


def test_object_arrays_are_refused():
    with pytest.raises(pickle.UnpicklingError, match='Object'):
        torch.load(_saved(np.array([{}], dtype=object)), weights_only=True)


def test_allowing_twice_changes_nothing():
    before = set(torch.serialization.get_safe_globals())
    allow_mmengine_checkpoints()
    assert set(torch.serialization.get_safe_globals()) == before
    assert (getattr, 'builtins.getattr') not in before
    assert getattr not in before


def test_restricted_getattr():
    assert restricted_getattr(HistoryBuffer, 'mean') is HistoryBuffer.mean
    for owner, name in ((HistoryBuffer, '__init__'), (HistoryBuffer(), 'mean'), (os, 'system'), (collections, 'mean')):
        with pytest.raises(pickle.UnpicklingError, match='not allowed'):
            restricted_getattr(owner, name)
