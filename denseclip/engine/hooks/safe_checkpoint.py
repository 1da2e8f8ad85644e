"""Checkpoints that survive a kill at any moment."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, get_file_backend
from mmengine.hooks import CheckpointHook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from ...files.atomic import partial_name, remove_partial_files, replacing, write_text

_OUTDATED_BEST = 'outdated_best_ckpts'  # in the message hub, which checkpoints hold


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """``CheckpointHook`` whose files are complete or absent; same arguments, same file names.

    MMEngine writes a checkpoint in place and removes the outdated one first, so that a job killed in that moment is
    left with nothing to resume from. Here the order is: write under a hidden name in the same folder, flush to disk,
    rename, point ``last_checkpoint`` to it (atomically, too), and only then remove what is outdated. The best
    checkpoints follow the same order.

    Args:
        *args: See :class:`mmengine.hooks.CheckpointHook`.
        **kwargs: See :class:`mmengine.hooks.CheckpointHook`.
    """

    keep_ckpt_ids: deque[int]
    best_ckpt_path: str | None

    def before_train(self, runner: Runner) -> None:
        """Prepare the folder and clear what a killed run left half written.

        Raises:
            ValueError: ``out_dir`` is not on a local file system.
        """
        super().before_train(runner)
        if not isinstance(get_file_backend(str(self.out_dir), backend_args=self.backend_args), LocalBackend):
            raise ValueError(
                f"SafeCheckpointHook writes to local folders only, got out_dir='{self.out_dir}'; write locally and "
                "copy, or use type='mmengine.CheckpointHook' for remote storage"
            )
        # A resumed run that validates before its first save must still bring the checkpoint up to date with the best.
        self.last_ckpt = runner.message_hub.get_info('last_ckpt')
        if is_main_process():
            Path(self.out_dir).mkdir(parents=True, exist_ok=True)
            for path in remove_partial_files(Path(self.out_dir)):
                runner.logger.info(f'removed the unfinished checkpoint {path.name} of an interrupted run')
            self._remove_best(runner.message_hub.get_info(_OUTDATED_BEST, []))

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict[str, Any]) -> None:
        """Save the state of one step; the only place from which the parent class saves periodic checkpoints."""
        outdated = self._register_step(runner, step)
        name = self.filename_tmpl.format(step)
        self.last_ckpt = str(Path(self.out_dir) / name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        self._write(
            runner,
            name,
            meta=meta,
            by_epoch=self.by_epoch,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            **self.args,
        )
        if is_main_process():
            write_text(Path(runner.work_dir) / 'last_checkpoint', self.last_ckpt)
            for old in outdated:
                (Path(self.out_dir) / self.filename_tmpl.format(old)).unlink(missing_ok=True)
        if outdated:
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))

    def _register_step(self, runner: Runner, step: int) -> list[int]:
        """Count a step among the kept ones; returns those that it pushes out.

        The checkpoint itself lists the outdated steps as well: if the process dies before removing them, the next run
        (``CheckpointHook.before_train``) does.
        """
        if self.max_keep_ckpts <= 0:
            return []
        steps = [kept for kept in self.keep_ckpt_ids if kept != step] + [step]
        outdated, kept = steps[: -self.max_keep_ckpts], steps[-self.max_keep_ckpts :]
        self.keep_ckpt_ids = deque(kept, self.max_keep_ckpts)
        runner.message_hub.update_info('keep_ckpt_ids', steps)
        return outdated

    def _write(self, runner: Runner, name: str, by_epoch: bool, **options: Any) -> None:
        """Gather the state of all processes and write one complete file."""
        runner.call_hook('before_checkpoint', stage='epoch' if by_epoch else 'iter')
        partial = partial_name(name)  # that of replacing(), by every process
        with replacing(Path(self.out_dir) / name) if is_main_process() else nullcontext():
            runner.save_checkpoint(self.out_dir, partial, by_epoch=by_epoch, backend_args=self.backend_args, **options)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict[str, Any]) -> None:
        """Save the best weights so far, per metric, before the previous best ones are removed."""
        if not self.save_best:
            return
        if 'auto' in self.key_indicators:
            self._init_rule(self.rules, [next(iter(metrics))])
        step = runner.epoch if self.by_epoch else runner.iter
        meta = {'epoch': runner.epoch, 'iter': runner.iter}
        replaced = []
        improved = False
        for key, rule in zip(self.key_indicators, self.rules, strict=True):
            score = self._score(metrics, key)
            suffix = '' if len(self.key_indicators) == 1 else f'_{key}'
            best = runner.message_hub.get_info(f'best_score{suffix}', self.init_value_map[rule])
            if score is None or not self.is_better_than[key](score, best):
                continue
            improved = True
            name = f'best_{key}_{self.filename_tmpl.format(step)}'.replace('/', '_')
            path = str(Path(self.out_dir) / name)
            replaced.append((self._swap_best_path(key, path), path))
            runner.message_hub.update_info(f'best_score{suffix}', score)
            runner.message_hub.update_info(f'best_ckpt{suffix}', path)
            self._write(runner, name, by_epoch=False, meta=dict(meta), save_optimizer=False, save_param_scheduler=False)
            runner.logger.info(f'best {key} so far: {score:.4f}, saved to {name}')
        # As with periodic ones, the checkpoint lists what is outdated: a run that dies before removing it leaves it to
        # the next.
        outdated = [Path(old).name for old, new in replaced if old and Path(old).name != Path(new).name]
        if improved:
            runner.message_hub.update_info(_OUTDATED_BEST, outdated)
        if improved and self.last_ckpt is not None:
            # The periodic checkpoint of this step was written before the validation and knows the old best only.
            self._save_checkpoint_with_step(runner, step, meta)
        if is_main_process():
            self._remove_best(outdated)

    def _remove_best(self, names: Sequence[str]) -> None:
        """Remove outdated best files; by name in this run's folder: a copied one still names the original's files."""
        for name in names:
            (Path(self.out_dir) / name).unlink(missing_ok=True)

    def _score(self, metrics: dict[str, Any], key: str) -> Any:
        if key not in metrics:
            raise KeyError(
                f"save_best='{key}' is not among the validation metrics ({', '.join(metrics)}); set "
                'default_hooks.checkpoint.save_best to one of them'
            )
        return metrics[key]

    def _swap_best_path(self, key: str, path: str) -> str | None:
        """Remember the new best file of a metric and return the previous one."""
        if len(self.key_indicators) == 1:
            old, self.best_ckpt_path = self.best_ckpt_path, path
            return old
        old = self.best_ckpt_path_dict.get(key)
        self.best_ckpt_path_dict[key] = path
        return old
