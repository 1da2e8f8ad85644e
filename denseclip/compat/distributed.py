"""Distributed training on CPUs.

mmengine starts the process group itself, but always selects a CUDA device first, wraps the model for a CUDA device, and
torch's SyncBatchNorm only works on one. :func:`prepare` does these three things differently where there is no
accelerator; with one it leaves everything to mmengine.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from torch import distributed, nn

LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')
_SYNC_BN = frozenset({'SyncBN', 'MMSyncBN', 'SyncBatchNorm', nn.SyncBatchNorm})
FULLY_SHARD = 'FullyShard'
"""``type`` of a ``model_wrapper_cfg`` that asks for sharded training; no wrapper, so it takes no settings of one."""
_DEFAULT_PORT = '29500'


class LauncherError(RuntimeError):
    """The launcher's environment is not that of its program."""


def prepare(launcher: str, cfg: Any = None) -> None:
    """Make a Runner with this launcher work on the machine at hand; call it before the Runner is built.

    Without an accelerator it joins a ``gloo`` process group (mmengine then skips its own start), and changes ``cfg``:
    the model is wrapped without device ids and SyncBN becomes BN. With CUDA nothing is changed and mmengine uses NCCL.

    Args:
        launcher: ``none``, ``pytorch`` (torchrun), ``slurm`` or ``mpi``.
        cfg: The run's :class:`mmengine.config.Config` (or a dict), changed in place.

    Raises:
        ValueError: For another launcher.
        LauncherError: If the launcher's environment variables are missing.
    """
    if launcher not in LAUNCHERS:
        raise ValueError(f'unknown launcher {launcher!r}; choose one of {", ".join(LAUNCHERS)}')
    if launcher == 'none' or has_accelerator():
        return
    if cfg is not None:
        _adapt_config(cfg)
    if not distributed.is_initialized():
        _ENVIRONMENTS[launcher]()
        distributed.init_process_group('gloo', timeout=_timeout(cfg), **_fresh_store())


def has_accelerator() -> bool:
    """Whether mmengine trains on a device with its own process groups and gradient scaler (CUDA, NPU, MLU ...)."""
    from mmengine.device import get_device

    return str(get_device()) not in ('cpu', 'mps')


def replace_sync_bn(cfg: Any) -> int:
    """Turn every SyncBN of a model configuration into BN, in place.

    Args:
        cfg: Any nesting of dicts and lists.

    Returns:
        How many were replaced.
    """
    if isinstance(cfg, dict):
        replaced = 0
        if cfg.get('type') in _SYNC_BN:
            cfg['type'] = 'BN'
            replaced = 1
        return replaced + sum(replace_sync_bn(value) for value in cfg.values())
    if isinstance(cfg, (list, tuple)):
        return sum(replace_sync_bn(value) for value in cfg)
    return 0


def _adapt_config(cfg: Any) -> None:
    replace_sync_bn(cfg.get('model'))
    if cfg.get('sync_bn') is not None:  # asks mmengine to convert BN into SyncBN
        cfg['sync_bn'] = None
    wrapper = dict(cfg.get('model_wrapper_cfg') or {})
    if wrapper.get('type') == FULLY_SHARD:
        return
    wrapper.setdefault('type', 'MMDistributedDataParallel')
    wrapper.setdefault('broadcast_buffers', False)
    # mmengine reads this key only where it makes the wrapper itself.
    wrapper.setdefault('find_unused_parameters', bool(cfg.get('find_unused_parameters', False)))
    wrapper['device_ids'] = None
    cfg['model_wrapper_cfg'] = wrapper


def _fresh_store() -> dict[str, Any]:
    """Where processes that torchrun has started again find each other.

    Its static rendezvous, the default, hands every attempt the same store, in which the addresses of the killed
    processes still stand (pytorch/pytorch#135712). Attempts are counted per machine, so this goes for one machine.
    """
    attempt = os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')
    alone = os.environ.get('LOCAL_WORLD_SIZE') == os.environ.get('WORLD_SIZE')
    if attempt == '0' or not alone or os.environ.get('TORCHELASTIC_USE_AGENT_STORE') != 'True':
        return {}
    rank, world_size = int(os.environ['RANK']), int(os.environ['WORLD_SIZE'])
    address = os.environ['MASTER_ADDR'], int(os.environ['MASTER_PORT'])
    store = distributed.TCPStore(*address, world_size, is_master=False)
    return {'store': distributed.PrefixStore(f'attempt_{attempt}', store), 'rank': rank, 'world_size': world_size}


def _timeout(cfg: Any) -> timedelta:
    dist_cfg = ((cfg or {}).get('env_cfg') or {}).get('dist_cfg') or {}
    return timedelta(seconds=float(dist_cfg.get('timeout', 1800)))


def _from_torchrun() -> None:
    _require('pytorch', 'RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT')


def _from_slurm() -> None:
    _require('slurm', 'SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_NODELIST')
    os.environ['RANK'] = os.environ['SLURM_PROCID']
    os.environ['WORLD_SIZE'] = os.environ['SLURM_NTASKS']
    os.environ['LOCAL_RANK'] = os.environ.get('SLURM_LOCALID', '0')
    os.environ.setdefault('MASTER_PORT', _DEFAULT_PORT)
    if 'MASTER_ADDR' not in os.environ:
        os.environ['MASTER_ADDR'] = _first_host(os.environ['SLURM_NODELIST'])


def _from_mpi() -> None:
    _require('mpi', 'OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK', 'MASTER_ADDR')
    for name in ('RANK', 'LOCAL_RANK'):
        os.environ[name] = os.environ[f'OMPI_COMM_WORLD_{name}']
    os.environ['WORLD_SIZE'] = os.environ['OMPI_COMM_WORLD_SIZE']
    os.environ.setdefault('MASTER_PORT', _DEFAULT_PORT)


_ENVIRONMENTS: dict[str, Callable[[], None]] = {'pytorch': _from_torchrun, 'slurm': _from_slurm, 'mpi': _from_mpi}


def _require(launcher: str, *names: str) -> None:
    missing = [name for name in names if name not in os.environ]
    if missing:
        start = {'pytorch': 'torchrun', 'slurm': 'srun', 'mpi': 'mpirun'}[launcher]
        raise LauncherError(
            f'launcher {launcher!r} needs the environment variables {", ".join(missing)}: '
            f"start the program with {start}, or use the launcher 'none'"
        )


def _first_host(node_list: str) -> str:
    try:
        names = subprocess.run(
            ['scontrol', 'show', 'hostname', node_list],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise LauncherError(
            f'cannot expand SLURM_NODELIST {node_list!r} with scontrol; set MASTER_ADDR to the first host of the job'
        ) from error
    return names.stdout.split()[0]
