"""Train and test from a config: what ``tools/train.py`` and ``tools/test.py`` call."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.dist import is_main_process
from mmengine.registry import OPTIMIZERS, RUNNERS, DefaultScope
from mmengine.runner import Runner

from ..clip.vocabulary import Vocabulary, VocabularyError, available
from ..compat import distributed
from ..compat.allocator import keep_large_buffers
from ..compat.logs import without_advice
from ..core.precision import Precision
from ..core.words import TakesWords
from ..datasets.perfect_labels import scores_labels
from ..files.shipped import shipped
from .checkpoints import last_checkpoint
from .compute import Layout
from .config import (
    OptionError,
    empty_folder,
    fit_workers,
    load_config,
    set_work_dir,
    use_amp,
    use_compute,
    use_on_damaged,
    use_sharding,
    use_suite_hooks,
    use_tta,
    usual_precision,
)
from .data.samples import require_data
from .hooks.pixel_head import PixelHeadHook
from .hooks.vocabulary_check import unwrap_model
from .model_class import fitted
from .own_weights import require_checkpoint
from .predictions import keep_predictions, name_results, whole_files
from .provenance import write_provenance
from .trackers import use_trackers


@dataclass(frozen=True)
class TrainOptions:
    """Options of a training beside its config.

    Attributes:
        work_dir: Where logs and checkpoints go; default: the config's ``work_dir``, else ``work_dirs/<config name>``.
        resume: ``'auto'`` (the last checkpoint of the work directory, if any), a checkpoint, or ``None`` to start anew.
        amp: Short for ``precision='fp16'`` on a GPU and ``'bf16'`` on a CPU.
        precision: ``'fp32'``, ``'bf16'`` or ``'fp16'``, see :class:`denseclip.engine.compute.Compute`; default: as the
            config's ``optim_wrapper`` says.
        layout: Memory layout of convolutions, see there.
        compile: Make graphs of blocks, layers and heads, see there.
        grad_checkpointing: Compute their activations again in the backward pass, see there.
        fsdp: Spread parameters, gradients and optimizer states over the processes, see
            :mod:`denseclip.engine.sharding`.
        auto_scale_lr: Scale learning rates to the actual batch size.
        overrides: Dotted config keys and values.
        launcher: ``none``, ``pytorch``, ``slurm`` or ``mpi``.
        seed: Seed of the run; default: the config's, else drawn (and logged).
        deterministic: Use deterministic algorithms; PyTorch warns of what has none.
        trust: Allow a checkpoint that runs code while it is read, to resume from or to start from.
        on_damaged: ``'stop'`` at a picture or label map that cannot be read, or ``'skip'`` it; default: the config's
            ``train_cfg.on_damaged``, else stop.
        trackers: Experiment trackers, see :data:`denseclip.engine.trackers.TRACKERS`.
        verbose: Show config and environment on the terminal, too.
    """

    work_dir: str | None = None
    resume: str | None = None
    amp: bool = False
    precision: Precision | None = None
    layout: Layout = 'auto'
    compile: bool | str = False
    grad_checkpointing: bool = False
    fsdp: bool = False
    auto_scale_lr: bool = False
    overrides: Mapping[str, Any] | None = None
    launcher: str = 'none'
    seed: int | None = None
    deterministic: bool = False
    trust: bool = False
    on_damaged: str | None = None
    trackers: tuple[str, ...] = ()
    verbose: bool = False


@dataclass(frozen=True)
class TestOptions:
    """Options of a test beside its config and checkpoint.

    Attributes:
        work_dir: Where logs go; default as in training.
        out: Folder for the predicted label maps (also of pictures without labels), or for results in COCO's format.
        show: Show each prediction in a window.
        show_dir: Folder for painted predictions.
        wait_time: Seconds between windows.
        overrides: Dotted config keys and values.
        launcher: ``none``, ``pytorch``, ``slurm`` or ``mpi``.
        tta: Test-time augmentation.
        vocabulary: Class names to use instead of the config's; see :func:`read_vocabulary`.
        head: Head of ``denseclip adapt`` that corrects the scores of words.
        boundary: Also take boundary IoU, for test sets whose pixels are labelled.
        task: ``semantic``, ``panoptic`` or ``instance``, for configs with ``task_evaluators``.
        amp: Short for ``precision='fp16'`` on a GPU and ``'bf16'`` on a CPU.
        precision: See :class:`denseclip.engine.compute.Compute`.
        layout: See there.
        compile: See there.
        trust: Allow a checkpoint that runs code while it is read.
        force: Write into ``out`` and ``show_dir`` even if they hold files.
        verbose: Show config and environment on the terminal, too.
    """

    __test__ = False  # not a test class, whatever pytest thinks of the name

    work_dir: str | None = None
    out: str | None = None
    show: bool = False
    show_dir: str | None = None
    wait_time: float = 2.0
    overrides: Mapping[str, Any] | None = None
    launcher: str = 'none'
    tta: bool = False
    vocabulary: str | None = None
    head: str | None = None
    boundary: bool = False
    task: str | None = None
    amp: bool = False
    precision: Precision = 'fp32'
    layout: Layout = 'auto'
    compile: bool | str = False
    trust: bool = False
    force: bool = False
    verbose: bool = False


def train(config_path: str | Path, options: TrainOptions | None = None) -> Runner:
    """Train a model.

    Args:
        config_path: Config file.
        options: The rest.

    Returns:
        The runner, after training.

    Raises:
        OptionError: A file or folder does not exist, or options contradict each other.
    """
    options = options or TrainOptions()
    config = load_config(config_path, options.overrides)
    if config.get('train_dataloader') is None or config.get('train_cfg') is None:
        raise OptionError(f"config '{config_path}' has no train_dataloader and train_cfg: it can only be tested")
    _require_model(config, config_path)
    _require_schedule(config)
    _set_randomness(config, options)
    if options.resume not in (None, 'auto') and not Path(str(options.resume)).is_file():
        raise OptionError(f"checkpoint '{options.resume}' to resume from does not exist")
    require_data(config, ('train', 'val'))
    work_dir = set_work_dir(config, options.work_dir, config_path)
    use_amp(config, wanted=options.amp, precision=options.precision)
    use_compute(config, layout=options.layout, compile=options.compile, grad_checkpointing=options.grad_checkpointing)
    if options.fsdp and (options.compile or options.layout == 'channels_last'):
        raise OptionError('--fsdp goes with neither --compile nor --layout channels_last: leave them out')
    use_sharding(config, wanted=options.fsdp, launcher=options.launcher)
    if options.auto_scale_lr:
        _enable_lr_scaling(config)
    _set_resume(config, options.resume, work_dir)
    use_trackers(config, options.trackers, Path(work_dir))
    use_suite_hooks(config)
    use_on_damaged(config, options.on_damaged)
    config.verbose = options.verbose
    with without_advice():
        runner = _build_runner(config, options.launcher)
        runner.trust = options.trust
        _record(runner, config=str(config_path), resume=config.get('load_from') if config.resume else None)
        runner.train()
    return runner


def test(
    config_path: str | Path, checkpoint: str | Path | None = None, options: TestOptions | None = None
) -> dict[str, float]:
    """Evaluate a checkpoint, or a model whose config names all its weights.

    Args:
        config_path: Config file.
        checkpoint: Our safetensors, an MMEngine checkpoint, an authors' file, a folder with weights, or any source that
            :func:`denseclip.weights.resolve` knows. It must fit the model exactly. None for a config that names all
            weights of its model.
        options: The rest.

    Returns:
        The metrics.

    Raises:
        OptionError: A file or folder does not exist, options contradict each other, or results would be overwritten.
        denseclip.weights.WeightMismatchError: The checkpoint belongs to another model.
    """
    options = options or TestOptions()
    config = load_config(config_path, options.overrides)
    if config.get('test_dataloader') is None or config.get('test_evaluator') is None:
        raise OptionError(f"config '{config_path}' has no test_dataloader and test_evaluator")
    _require_model(config, config_path)
    if checkpoint is not None and not Path(checkpoint).exists():
        checkpoint = shipped(checkpoint) or checkpoint
    require_checkpoint(checkpoint, config)
    config = fitted(config, checkpoint)
    vocabulary = read_vocabulary(options.vocabulary) if options.vocabulary else None
    if options.head and not Path(options.head).is_file():
        raise OptionError(f"--head: '{options.head}' does not exist; make it with 'denseclip adapt'")
    require_data(config, ('test',))
    set_work_dir(config, options.work_dir, config_path)
    config.load_from, config.resume = (None if checkpoint is None else str(checkpoint)), False
    if options.task:
        set_task(config, options.task)
    if options.show or options.show_dir:
        _draw_predictions(config, options)
    if options.tta:
        use_tta(config)
    out = empty_folder(options.out, '--out', force=options.force) if options.out else None
    if out is not None:
        keep_predictions(config, out)
    if options.boundary:
        _score_boundaries(config)
    precision = usual_precision() if options.amp and options.precision == 'fp32' else options.precision
    use_compute(config, precision=precision, layout=options.layout, compile=options.compile)
    use_suite_hooks(config)
    config.verbose = options.verbose
    with without_advice(), whole_files(out):
        runner = _build_runner(config, options.launcher)
        runner.strict, runner.trust = True, options.trust
        if vocabulary is not None:
            _set_vocabulary(runner, vocabulary)
        if options.head:
            runner.register_hook(PixelHeadHook(options.head))
        _record(runner, config=str(config_path), checkpoint=config.load_from)
        if out is not None:
            name_results(runner)
        return runner.test()


def _score_boundaries(config: Config) -> None:
    """Add boundary IoU to the scores of a test.

    Raises:
        OptionError: If the config scores no label maps.
    """
    found = config.test_evaluator if isinstance(config.test_evaluator, list) else [config.test_evaluator]
    with DefaultScope.overwrite_default_scope(config.get('default_scope') or 'mmengine'):
        pixels = [evaluator for evaluator in found if scores_labels(evaluator)]
    if not pixels:
        names = ', '.join(str(evaluator.get('type')) for evaluator in found)
        raise OptionError(f'--boundary goes with label maps, which {names} does not score: leave --boundary out')
    ignored = pixels[0].get('ignore_index')
    own = ConfigDict(type='BoundaryIoUMetric', **({} if ignored is None else {'ignore_index': ignored}))
    config.test_evaluator = [*found, own]


def set_task(config: Config, task: str) -> None:
    """Let a query-based model make other results of the same weights, and score these.

    Args:
        config: Changed: ``model.test_cfg.task``, and ``test_evaluator`` becomes ``task_evaluators[task]``.
        task: ``semantic``, ``panoptic`` or ``instance``.

    Raises:
        OptionError: If the config has no evaluator for the task.
    """
    known = config.get('task_evaluators') or {}
    if task not in known:
        there_are = f'; there are {", ".join(known)}' if known else ': its model and data set know one task only'
        raise OptionError(f"--task {task}: the config has no task_evaluators['{task}']{there_are}")
    config.model.test_cfg = ConfigDict(config.model.get('test_cfg') or {}, task=task)
    config.test_evaluator = known[task]


def _build_runner(config: Config, launcher: str) -> Any:
    """Build the runner: ours, or the one that the config asks for by ``runner_type``."""
    config.launcher = launcher
    fit_workers(config)
    if not distributed.has_accelerator():
        keep_large_buffers()
    distributed.prepare(launcher, config)
    config.setdefault('runner_type', 'SuiteRunner')
    return RUNNERS.build(config)


def _require_model(config: Config, config_path: str | Path) -> None:
    if not config.get('model'):
        given = f'model={config.model!r}' if 'model' in config else 'no model'
        raise OptionError(f"config '{config_path}' has {given}: it takes model=dict(type=...)")


def _require_schedule(config: Config) -> None:
    """Refuse a training that would end at once, and an optimizer that nobody knows."""
    for key in ('max_iters', 'max_epochs'):
        length = config.train_cfg.get(key, 1)
        if isinstance(length, bool) or not isinstance(length, int) or length < 1:
            raise OptionError(f'train_cfg.{key}={length!r}: it takes a whole number of at least 1')
    optimizer = (config.get('optim_wrapper') or {}).get('optimizer') or {}
    kind, rate = optimizer.get('type'), optimizer.get('lr', 0.0)
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate < math.inf:
        raise OptionError(f'optim_wrapper.optimizer.lr={rate!r}: it takes a finite number of at least 0')
    with (
        DefaultScope.overwrite_default_scope(config.get('default_scope') or 'mmengine'),
        OPTIMIZERS.switch_scope_and_registry(None) as registry,
    ):
        if isinstance(kind, str) and registry.get(kind) is None:
            near = difflib.get_close_matches(kind, OPTIMIZERS.module_dict, n=2)
            hint = f'; did you mean {" or ".join(near)}?' if near else ''
            raise OptionError(f"optim_wrapper.optimizer.type='{kind}' is no known optimizer{hint}")


def _set_resume(config: Config, resume: str | None, work_dir: Path) -> None:
    """Point the runner at the checkpoint to continue from."""
    config.resume = False
    if resume is None:
        return
    if resume != 'auto':
        config.resume, config.load_from = True, resume
        return
    try:
        newest = last_checkpoint(work_dir)
    except FileNotFoundError as error:
        raise OptionError(str(error)) from error
    if newest is not None:  # else: the first start of a job that always says --resume
        config.resume, config.load_from = True, str(newest)


def _set_randomness(config: Config, options: TrainOptions) -> None:
    randomness = config.setdefault('randomness', ConfigDict(seed=None))
    if options.seed is not None:
        if not 0 <= options.seed < 2**32:
            raise OptionError(f'--seed {options.seed}: it takes a whole number from 0 to {2**32 - 1}')
        randomness.seed = options.seed
    randomness.setdefault('seed', None)
    if options.deterministic:
        randomness.deterministic = True


def _enable_lr_scaling(config: Config) -> None:
    base = (config.get('auto_scale_lr') or {}).get('base_batch_size')
    if isinstance(base, bool) or not isinstance(base, int) or base < 1:
        raise OptionError(
            '--auto-scale-lr needs auto_scale_lr.base_batch_size in the config: the total batch of its learning rates'
        )
    config.auto_scale_lr.enable = True


def _draw_predictions(config: Config, options: TestOptions) -> None:
    folder = empty_folder(options.show_dir, '--show-dir', force=options.force) if options.show_dir else None
    painter = ConfigDict(type='PaintedResultsHook', show=options.show, wait_time=options.wait_time)
    painter.folder = None if folder is None else str(folder.resolve())
    config.custom_hooks = [*(config.get('custom_hooks') or []), painter]


def read_vocabulary(source: str) -> Vocabulary:
    """Class names from the command line.

    Args:
        source: A file of classes, the name of a list of the suite (``camvid_synonyms``), or the classes
            themselves (``road; car=automobile,vehicle; sky``).

    Returns:
        The vocabulary.

    Raises:
        OptionError: It is none of these, or its names cannot be used.
    """
    found: Vocabulary | None = None
    try:
        if source not in available() and Path(source).is_file():
            return Vocabulary.from_file(source)
        found = Vocabulary.typed(source)
    except VocabularyError as error:
        raise OptionError(f'--vocabulary: {error}') from error
    except FileNotFoundError:
        pass
    if found is None or found.names == (source.strip(),):  # one word is rather a misspelt file than the only class
        lists = ', '.join(available())
        raise OptionError(f"vocabulary file '{source}' does not exist, and no list of the suite is called so ({lists})")
    return found


def _set_vocabulary(runner: Runner, vocabulary: Vocabulary) -> None:
    model = unwrap_model(runner.model)
    set_vocabulary: Callable[..., None] | None = getattr(model, 'set_vocabulary', None)
    if set_vocabulary is None:
        raise OptionError(f'--vocabulary needs an open-vocabulary model; {type(model).__name__} has fixed classes')
    things = _things_of_data(runner, vocabulary) if isinstance(model, TakesWords) else None
    set_vocabulary(vocabulary, **({} if things is None else {'things': things}))
    runner.logger.info(f'vocabulary:\n{vocabulary.describe()}')


def _things_of_data(runner: Runner, vocabulary: Vocabulary) -> list[str] | None:
    """Names of the classes that stand where the test set has things; None where it does not say, or has others."""
    dataset: Any = runner.test_dataloader.dataset
    meta = getattr(dataset, 'metainfo', {})
    if 'thing_classes' not in meta or len(meta['classes']) != len(vocabulary.classes):
        return None
    pairs = list(zip(meta['classes'], vocabulary.classes, strict=True))
    stuff = {name.casefold() for known, entry in pairs if known not in meta['thing_classes'] for name in entry.names}
    things = [entry.names for known, entry in pairs if known in meta['thing_classes']]
    return [next((name for name in names if name.casefold() not in stuff), names[0]) for names in things]


def _record(runner: Runner, **extra: Any) -> None:
    if is_main_process():
        write_provenance(runner.log_dir, **extra)
