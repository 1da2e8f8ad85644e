"""From a config file and command-line options to the config that a Runner is built from."""

from __future__ import annotations

import copy
import difflib
import functools
import inspect
import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log

from ..compat.amp import disable_amp, enable_amp, lacks_bfloat16_units
from ..compat.distributed import FULLY_SHARD, has_accelerator
from ..core.precision import Precision, check_precision, low_dtype
from ..datasets.sources import inner_datasets
from ..files.scratch import Terminated
from ..files.shipped import config_file, similar_configs
from .config_shape import faults
from .model_class import model_class

_RESUMABLE = {'IterBasedTrainLoop': 'ResumableIterTrainLoop', 'EpochBasedTrainLoop': 'ResumableEpochTrainLoop'}
_SUITE_HOOKS = {
    'training_state': 'TrainingStateHook',
    'vocabulary_check': 'VocabularyCheckHook',
    'non_finite_loss': 'NonFiniteLossHook',
    'recipe_check': 'RecipeCheckHook',
    'damaged_files': 'DamagedFilesHook',
}
_CONFIG_SUFFIXES = ('.py', '.json', '.yaml', '.yml')


class OptionError(ValueError):
    """Options that contradict each other, the config, or what lies on disk; the tools print it without a traceback."""


def load_config(path: str | Path, overrides: Mapping[str, Any] | None = None, *, whole: bool = True) -> Config:
    """Read a config file.

    Args:
        path: The file, or the name of one that comes with the package (see :mod:`denseclip.files.shipped`).
        overrides: ``--cfg-options``: dotted keys and values.
        whole: Whether it describes a whole model; otherwise changes to one.

    Returns:
        The config.

    Raises:
        OptionError: There is no such file, it cannot be read, or a key of the overrides has no place in it.
    """
    file = config_file(path)
    if file.is_dir():
        raise OptionError(f"config file '{path}' is a folder{_configs_in(file)}")
    if not file.is_file():
        raise OptionError(f"config file '{path}' does not exist{_configs_near(path)}")
    if file.suffix not in _CONFIG_SUFFIXES:
        raise OptionError(f"config file '{path}' must end in {', '.join(_CONFIG_SUFFIXES)}")
    try:
        config = Config.fromfile(str(file))
    except Terminated:
        raise
    except (Exception, SystemExit) as error:  # a config is a program: it can fail in any way, or end
        raise OptionError(f"config file '{path}' cannot be read: {_told(error)}") from error
    if overrides:
        _merge(config, overrides)
    for fault in faults(config, whole=whole):
        raise OptionError(f"config '{path}': {fault}")
    return config


def _configs_in(folder: Path) -> str:
    near = sorted(str(other) for other in folder.glob('*.py')) if folder.is_dir() else []
    return f'; that folder holds {", ".join(near[:8])}' if near else ''


def _configs_near(path: str | Path) -> str:
    similar = similar_configs(path)
    return _configs_in(Path(path).parent) or (f'; did you mean {" or ".join(similar)}?' if similar else '')


def _told(error: BaseException) -> str:
    """Kind and text of an error in a config; the text alone where MMEngine has written a sentence."""
    if isinstance(error, RecursionError):
        return 'it is among its own bases (_base_), or nests without end'
    if isinstance(error, SystemExit):
        return f'it ends the program (SystemExit {error.code})'
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    if isinstance(error, SyntaxError | FileNotFoundError | ImportError):
        return text
    return f'{type(error).__name__}: {text}'


def _merge(config: Config, overrides: Mapping[str, Any]) -> None:
    """Apply overrides; a first key that looks like a spelling mistake is refused, for it would change nothing."""
    for key in overrides:
        first = key.split('.')[0]
        if first not in config:
            near = difflib.get_close_matches(first, config.keys(), n=1, cutoff=0.8)
            if near and first not in _run_keys():
                raise OptionError(f"--cfg-options {key}: the config has no '{first}'; did you mean '{near[0]}'?")
    try:
        config.merge_from_dict(dict(overrides))
    except Exception as error:
        guilty = [key for key, value in overrides.items() if not _fits(config, key, value)] or list(overrides)
        raise OptionError(f'--cfg-options {" ".join(guilty)}: {_told(error)[:300]}') from error


def _fits(config: Config, key: str, value: Any) -> bool:
    """Whether an override has a place in the config."""
    try:
        copy.deepcopy(config).merge_from_dict({key: value})
    except Exception:
        return False
    return True


def fit_workers(config: Config) -> None:
    """Take out of data loaders what needs worker processes where there are none (``num_workers=0``).

    Args:
        config: Changed in place.
    """
    for split in ('train', 'val', 'test'):
        loader = config.get(f'{split}_dataloader')
        if loader and loader.get('num_workers') == 0:
            for key in ('persistent_workers', 'prefetch_factor'):
                loader.pop(key, None)


def set_work_dir(config: Config, work_dir: str | Path | None, config_path: str | Path) -> Path:
    """Choose where a run writes: the option, else the config's ``work_dir``, else ``work_dirs/<config name>``.

    Returns:
        The folder, created.

    Raises:
        OptionError: It cannot be written to.
    """
    chosen = Path(work_dir or config.get('work_dir') or Path('work_dirs') / Path(config_path).stem)
    try:
        chosen.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=chosen):
            pass
    except OSError as error:
        raise OptionError(
            f"cannot write to the work directory '{chosen}' ({error.strerror}): choose another --work-dir"
        ) from error
    config.work_dir = str(chosen)
    return chosen


def use_suite_hooks(config: Config) -> None:
    """Give a run the suite's guards: whole checkpoints, exact resume, finite losses, checks of classes and recipe.

    A plain ``CheckpointHook`` becomes a ``SafeCheckpointHook`` with the same arguments; MMEngine's own training loops
    become the resumable ones. The guards appear under ``default_hooks`` as ``training_state``, ``vocabulary_check``,
    ``non_finite_loss``, ``recipe_check`` and ``damaged_files``. Set one to ``None`` to do without it, or write
    ``mmengine.CheckpointHook`` or ``mmengine.IterBasedTrainLoop`` to keep MMEngine's.

    Args:
        config: Changed in place.
    """
    hooks = config.setdefault('default_hooks', ConfigDict())
    if config.get('train_cfg'):
        _use_resumable_loop(config)
        _use_safe_checkpoints(config, hooks)
    named_elsewhere = {hook.get('type') for hook in config.get('custom_hooks') or [] if isinstance(hook, Mapping)}
    for name, hook_type in _SUITE_HOOKS.items():
        if name in hooks and hooks[name] is None:
            del hooks[name]
        elif hook_type not in named_elsewhere:
            hooks.setdefault(name, ConfigDict(type=hook_type))


def use_on_damaged(config: Config, on_damaged: str | None) -> None:
    """Say what training does about a picture or label map that cannot be read.

    Args:
        config: Changed in place; :func:`use_suite_hooks` was there before.
        on_damaged: ``'stop'`` or ``'skip'``; None: as ``train_cfg.on_damaged`` says, else stop.

    Raises:
        OptionError: The config has another training loop than the suite's.
    """
    if on_damaged is None:
        return
    kind = config.train_cfg.get('type')
    if kind not in _RESUMABLE.values():
        raise OptionError(f"--on-damaged goes with the suite's training loops, the config has train_cfg.type='{kind}'")
    config.train_cfg.on_damaged = on_damaged


def _use_resumable_loop(config: Config) -> None:
    loop = config.train_cfg
    if 'by_epoch' in loop:
        loop['type'] = 'EpochBasedTrainLoop' if loop.pop('by_epoch') else 'IterBasedTrainLoop'
    loop['type'] = _RESUMABLE.get(loop.get('type'), loop.get('type'))


def _use_safe_checkpoints(config: Config, hooks: ConfigDict) -> None:
    by_epoch = 'max_epochs' in config.train_cfg
    if 'checkpoint' not in hooks:
        # MMEngine's default saves every epoch, which in an iteration-based run means: once, at the end.
        interval = config.train_cfg.get('val_interval', 1 if by_epoch else 1000)
        hooks.checkpoint = ConfigDict(type='SafeCheckpointHook', by_epoch=by_epoch, interval=interval, max_keep_ckpts=2)
    elif hooks.checkpoint is not None and hooks.checkpoint.get('type') == 'CheckpointHook':
        hooks.checkpoint.type = 'SafeCheckpointHook'
    if 'logger' not in hooks:
        hooks.logger = ConfigDict(type='LoggerHook', interval=50, log_metric_by_epoch=by_epoch)


def usual_precision() -> Precision:
    """What mixed precision means on this machine: float16 on a GPU, bfloat16 on the CPU."""
    return 'fp16' if has_accelerator() else 'bf16'


def use_amp(config: Config, *, wanted: bool, precision: Precision | None = None) -> None:
    """Train in mixed precision, or not; on a GPU float16 comes with loss scaling.

    Args:
        config: Changed in place.
        wanted: Turn it on, in the :func:`usual_precision`. A config that has it on keeps it, in the kind that this
            machine can run.
        precision: Turn it on in this one; ``'fp32'`` turns it off; None: as ``wanted`` and the config say.

    Raises:
        OptionError: The config uses an optimizer wrapper of its own, nothing can be trained in the precision here, or
            ``wanted`` contradicts it.
    """
    if precision == 'fp32':
        if wanted:
            raise OptionError('--amp is mixed precision, --precision fp32 is none: leave one of them out')
        disable_amp(config.optim_wrapper)
        return
    if not wanted and precision is None and config.optim_wrapper.get('type') != 'AmpOptimWrapper':
        return
    try:
        check_precision(precision or 'fp32', None if has_accelerator() else 'cpu', training=True)
    except ValueError as error:
        raise OptionError(f'--precision: {error}') from error
    if lacks_bfloat16_units():
        print_log(
            'mixed precision is bfloat16 on a CPU, and this processor has no units for it (avx512_bf16, amx_bf16): '
            'training becomes several times slower. Leave --amp and --precision out here.',
            logger='current',
            level=logging.WARNING,
        )
    try:
        enable_amp(config.optim_wrapper, None if precision is None else low_dtype(precision))
    except ValueError as error:
        raise OptionError(f'--amp: {error}') from error


def use_compute(
    config: Config,
    *,
    precision: Precision = 'fp32',
    layout: str = 'auto',
    compile: bool | str = False,
    grad_checkpointing: bool = False,
) -> None:
    """Let a run compute as the options of :class:`denseclip.engine.compute.Compute` say.

    Args:
        config: Gets a ``ComputeHook`` where anything is asked for that a run does not do anyway.
        precision: Of tests; training has its own, see :func:`use_amp`.
        layout: Memory layout of convolutions.
        compile: Make graphs of blocks, layers and heads.
        grad_checkpointing: Compute their activations again in the backward pass.
    """
    usual: dict[str, Any] = dict(precision='fp32', layout='auto', compile=False, grad_checkpointing=False)
    asked = dict(precision=precision, layout=layout, compile=compile, grad_checkpointing=grad_checkpointing)
    settings = {key: value for key, value in asked.items() if value != usual[key]}
    if settings:
        config.custom_hooks = [*(config.get('custom_hooks') or []), ConfigDict(type='ComputeHook', **settings)]


def use_sharding(config: Config, *, wanted: bool, launcher: str) -> None:
    """Spread the model over the processes of a run.

    Args:
        config: Gets the ``model_wrapper_cfg`` of :mod:`denseclip.engine.sharding`.
        wanted: Turn it on.
        launcher: How several processes were started.

    Raises:
        OptionError: There is one process only, or the config wraps its model in another way.
    """
    if not wanted:
        return
    if launcher == 'none':
        raise OptionError(
            '--fsdp spreads a model over several processes: start them with torchrun --nproc_per_node N, and give '
            '--launcher pytorch'
        )
    other = (config.get('model_wrapper_cfg') or {}).get('type', FULLY_SHARD)
    if other != FULLY_SHARD:
        raise OptionError(f"--fsdp: the config has model_wrapper_cfg.type='{other}', which is another way: remove it")
    config.model_wrapper_cfg = ConfigDict(type=FULLY_SHARD)


def use_tta(config: Config) -> None:
    """Test with the config's ``tta_model`` and ``tta_pipeline``.

    Raises:
        OptionError: The config defines none.
    """
    for key in ('tta_model', 'tta_pipeline'):
        if not config.get(key):
            raise OptionError(f'--tta needs {key} in the config; add one (see configs/_base_) or test without --tta')
    for dataset in inner_datasets(config.test_dataloader.dataset):
        dataset.pipeline = config.tta_pipeline
    wrapper = ConfigDict(config.tta_model)
    if wrapper.type in ('SegTTAModel', 'DenseSegTTAModel'):  # for logits; other models say what they need
        wrapper.type = getattr(model_class(config), 'tta_model', wrapper.type)
    config.model = ConfigDict(**wrapper, module=config.model)


def empty_folder(path: str | Path, option: str, *, force: bool) -> Path:
    """A folder for results that holds none yet.

    Args:
        path: The folder; created if need be.
        option: The option that names it, for the message.
        force: Write into it even if it holds files.

    Returns:
        The folder.

    Raises:
        OptionError: It holds files and ``force`` is False, or it cannot be created.
    """
    folder = Path(path)
    if folder.is_file():
        raise OptionError(f"{option} '{folder}' is a file, not a folder")
    if folder.is_dir() and any(folder.iterdir()) and not force:
        raise OptionError(
            f"{option} '{folder}' holds earlier results: choose another folder, or pass --force to write over them"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(f"cannot create {option} '{folder}' ({error.strerror})") from error
    return folder


@functools.cache
def _run_keys() -> frozenset[str]:
    """What a run takes besides what its config has already."""
    from mmengine.runner import Runner

    keys = inspect.signature(Runner.__init__).parameters
    return frozenset({*keys, 'runner_type', 'auto_scale_lr', 'tta_model', 'tta_pipeline'})
