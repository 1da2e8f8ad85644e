"""``denseclip train``: train a model from a config."""

from __future__ import annotations

import argparse
import os

from denseclip.cli.cfg_options import add_cfg_options
from denseclip.cli.options import add_compute_options, add_config, add_grad_checkpointing, add_launcher, add_trust

HELP = 'train a model from a config'
EPILOG = (
    'examples:\n'
    '  denseclip train my_data.py --work-dir work_dirs/first --tracker tensorboard\n'
    '  denseclip train miniworld/clip_vit-xs8_miniworld-64x64 --cfg-options train_cfg.max_iters=100'
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Words and options of the command."""
    add_config(parser)
    parser.add_argument('--work-dir', help='where logs and checkpoints go (default: work_dirs/<config name>)')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='continue exactly where a checkpoint stopped; without a value: the last one of the work directory, if any',
    )
    parser.add_argument('--amp', action='store_true', help='short for --precision fp16 on a GPU, bf16 on a CPU')
    add_compute_options(parser, training=True)
    add_grad_checkpointing(parser)
    parser.add_argument(
        '--fsdp',
        action='store_true',
        help='spread parameters, gradients and optimizer states over the processes, for models that one card cannot '
        'train; goes with --launcher',
    )
    parser.add_argument('--auto-scale-lr', action='store_true', help='scale learning rates to the actual batch size')
    add_cfg_options(parser, '--cfg-options')
    parser.add_argument('--seed', type=int, help='seed of the run (default: the config, else drawn and logged)')
    parser.add_argument('--deterministic', action='store_true', help='deterministic algorithms where there are any')
    parser.add_argument(
        '--on-damaged',
        choices=['stop', 'skip'],
        help='what to do about a picture or label map that is missing or damaged: stop and name it (the default), or '
        'take another sample in its place, name it and count it',
    )
    parser.add_argument(
        '--tracker',
        action='append',
        default=[],
        metavar='NAME',
        help='also tell an experiment tracker losses, scores and painted validation pictures: tensorboard, wandb or '
        'mlflow; several times for several',
    )
    add_trust(parser)
    add_launcher(parser)
    parser.set_defaults(lean=True)


def run(args: argparse.Namespace) -> int:
    """Train."""
    from denseclip.compat.versions import require_host_stack

    require_host_stack('training')
    from denseclip.engine.launch import TrainOptions, train

    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    options = TrainOptions(
        work_dir=args.work_dir,
        resume=args.resume,
        amp=args.amp,
        precision=args.precision,
        layout=args.layout,
        compile=args.compile,
        grad_checkpointing=args.grad_checkpointing,
        fsdp=args.fsdp,
        auto_scale_lr=args.auto_scale_lr,
        overrides=args.cfg_options,
        launcher=args.launcher,
        seed=args.seed,
        deterministic=args.deterministic,
        trust=args.trust,
        on_damaged=args.on_damaged,
        trackers=tuple(args.tracker),
        verbose=args.verbose,
    )
    train(args.config, options)
    return 0
