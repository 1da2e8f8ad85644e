"""Distributed runs on CPUs: configuration, launchers, and a real training in two processes."""

import os
import socket
from datetime import timedelta

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, FUNCTIONS, MODELS
from mmengine.runner import Runner
from two_processes import in_two_processes

from denseclip.compat import distributed

TORCHRUN = {'RANK': '0', 'WORLD_SIZE': '1', 'LOCAL_RANK': '0', 'MASTER_ADDR': '127.0.0.1'}


@pytest.fixture
def on_cpu(monkeypatch):
    """A machine without accelerator, and an environment that is restored."""
    monkeypatch.setattr(distributed, 'has_accelerator', lambda: False)
    monkeypatch.setattr(os, 'environ', {key: value for key, value in os.environ.items() if 'SLURM' not in key})
    for name in (*TORCHRUN, 'MASTER_PORT'):
        os.environ.pop(name, None)


@pytest.fixture
def started(monkeypatch, on_cpu):
    """Process groups that would have been started."""
    calls = []
    monkeypatch.setattr(
        distributed.distributed, 'init_process_group', lambda backend, timeout: calls.append((backend, timeout))
    )
    return calls


def _free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return str(probe.getsockname()[1])


def test_single_process_changes_nothing(started):
    cfg = Config({'model': {'norm_cfg': {'type': 'SyncBN'}}})
    distributed.prepare('none', cfg)
    assert started == []
    assert cfg.to_dict() == {'model': {'norm_cfg': {'type': 'SyncBN'}}}


def test_with_an_accelerator_mmengine_does_it(started, monkeypatch):
    monkeypatch.setattr(distributed, 'has_accelerator', lambda: True)
    cfg = Config({'model': {'norm_cfg': {'type': 'SyncBN'}}})
    distributed.prepare('pytorch', cfg)
    assert started == []
    assert cfg.model.norm_cfg.type == 'SyncBN'


def test_config_is_adapted(started):
    os.environ.update(TORCHRUN, MASTER_PORT='1')
    cfg = Config(
        {
            'model': {
                'backbone': {'norm_cfg': {'type': 'SyncBN', 'requires_grad': True}},
                'heads': [{'norm_cfg': {'type': 'GN'}}, {'norm_cfg': {'type': torch.nn.SyncBatchNorm}}],
            },
            'sync_bn': 'torch',
            'find_unused_parameters': True,
            'env_cfg': {'dist_cfg': {'backend': 'nccl', 'timeout': 60}},
        }
    )
    distributed.prepare('pytorch', cfg)
    assert cfg.model.backbone.norm_cfg == {'type': 'BN', 'requires_grad': True}
    assert [head.norm_cfg.type for head in cfg.model.heads] == ['GN', 'BN']
    assert cfg.sync_bn is None
    assert cfg.model_wrapper_cfg == {
        'type': 'MMDistributedDataParallel',
        'broadcast_buffers': False,
        'find_unused_parameters': True,
        'device_ids': None,
    }
    assert started == [('gloo', timedelta(seconds=60))]


def test_own_wrapper_settings_are_kept(started):
    os.environ.update(TORCHRUN, MASTER_PORT='1')
    cfg = {'model_wrapper_cfg': {'type': 'MMSeparateDistributedDataParallel', 'broadcast_buffers': True}}
    distributed.prepare('pytorch', cfg)
    assert cfg['model_wrapper_cfg']['type'] == 'MMSeparateDistributedDataParallel'
    assert cfg['model_wrapper_cfg']['broadcast_buffers'] is True
    assert cfg['model_wrapper_cfg']['device_ids'] is None


def test_slurm_environment(started, tmp_path):
    scontrol = tmp_path / 'scontrol'
    scontrol.write_text('#!/bin/sh\necho "node7 $1 $2 $3"\necho node8\n')
    scontrol.chmod(0o755)
    os.environ.update(
        SLURM_PROCID='3', SLURM_NTASKS='4', SLURM_NODELIST='node[7-8]', SLURM_LOCALID='1', PATH=f'{tmp_path}:/bin'
    )
    distributed.prepare('slurm')
    names = ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT')
    assert [os.environ[name] for name in names] == ['3', '4', '1', 'node7', '29500']
    assert started == [('gloo', timedelta(seconds=1800))]


def test_slurm_without_scontrol(started):
    os.environ.update(SLURM_PROCID='0', SLURM_NTASKS='1', SLURM_NODELIST='here', PATH='')
    with pytest.raises(RuntimeError, match="'here'.*set MASTER_ADDR"):
        distributed.prepare('slurm')
    os.environ['MASTER_ADDR'] = 'here'
    distributed.prepare('slurm')
    assert started


def test_mpi_environment(started):
    os.environ.update({f'OMPI_COMM_WORLD_{name}': '1' for name in ('RANK', 'SIZE', 'LOCAL_RANK')}, MASTER_ADDR='here')
    distributed.prepare('mpi')
    assert [os.environ[name] for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK')] == ['1', '1', '1']


@pytest.mark.parametrize(('launcher', 'names'), [('pytorch', 'RANK'), ('slurm', 'SLURM_PROCID'), ('mpi', 'OMPI')])
def test_missing_environment_is_explained(started, launcher, names):
    with pytest.raises(RuntimeError, match=rf"'{launcher}' needs .*{names}.*run"):
        distributed.prepare(launcher)


def test_restarted_processes_do_not_read_the_addresses_of_killed_ones(on_cpu, monkeypatch):
    """torchrun's static rendezvous keeps its store; each attempt on one machine gets names of its own in it."""
    port = int(_free_port())
    agent = torch.distributed.TCPStore('127.0.0.1', port, 1, is_master=True, wait_for_workers=False)
    agent.set('address', 'of a killed process')
    calls = []
    monkeypatch.setattr(distributed.distributed, 'init_process_group', lambda *args, **kwargs: calls.append(kwargs))
    os.environ.update(TORCHRUN, MASTER_PORT=str(port), LOCAL_WORLD_SIZE='1', TORCHELASTIC_USE_AGENT_STORE='True')
    for attempt in range(3):
        os.environ['TORCHELASTIC_RESTART_COUNT'] = str(attempt)
        distributed.prepare('pytorch')
    assert 'store' not in calls[0]
    for call in calls[1:]:
        assert (call['rank'], call['world_size']) == (0, 1)
        assert not call['store'].check(['address'])
        call['store'].set('address', 'new')
    assert agent.get('address') == b'of a killed process'


def test_unknown_launcher():
    with pytest.raises(ValueError, match="'horovod'.*none, pytorch, slurm, mpi"):
        distributed.prepare('horovod')


def train(work_dir):
    """A training in one of two processes; what it registers stays there."""
    distributed.has_accelerator = lambda: False

    @MODELS.register_module()
    class Toy(BaseModel):
        def __init__(self, norm_cfg):
            super().__init__()
            self.layer = torch.nn.Linear(2, 3)
            self.norm = MODELS.build(dict(norm_cfg, num_features=3))

        def forward(self, inputs, mode='tensor'):
            return {'loss': self.norm(self.layer(torch.stack(inputs))[..., None, None]).square().mean()}

    @DATASETS.register_module()
    class Points(torch.utils.data.Dataset):
        def __len__(self):
            return 8

        def __getitem__(self, index):
            return torch.tensor([float(index), index * index / 4 - 1])

    @FUNCTIONS.register_module()
    def as_inputs(samples):
        return {'inputs': samples}

    loader = dict(
        batch_size=2,
        num_workers=0,
        dataset=dict(type='Points'),
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='as_inputs'),
    )
    cfg = Config(
        dict(
            model=dict(type='Toy', norm_cfg=dict(type='SyncBN')),
            launcher='pytorch',
            work_dir=str(work_dir),
            train_dataloader=loader,
            train_cfg=dict(by_epoch=False, max_iters=2),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.5)),
            randomness=dict(seed=0),
            log_level='ERROR',
            experiment_name='gloo',
        )
    )
    distributed.prepare('pytorch', cfg)
    runner = Runner.from_cfg(cfg)
    before = runner.model.module.layer.weight.detach().clone()
    runner.train()
    weight = runner.model.module.layer.weight.detach()
    assert not torch.equal(weight, before)
    gathered = [torch.empty_like(weight) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(gathered, weight)
    assert len(gathered) == 2 and all(torch.equal(other, weight) for other in gathered)
    assert type(runner.model.module.norm).__name__ == 'BatchNorm2d', runner.model.module.norm


def test_training_in_two_processes(tmp_path):
    in_two_processes(train, tmp_path)
