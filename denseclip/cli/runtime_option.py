"""``--runtime``: an exported model instead of a PyTorch one."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from denseclip.apis.errors import UserError

if TYPE_CHECKING:
    from denseclip.clip.vocabulary import Vocabulary
    from denseclip.runtime.anomaly import RuntimeAnomalyModel
    from denseclip.runtime.boxes import RuntimeBoxModel
    from denseclip.runtime.manifest import Manifest
    from denseclip.runtime.model import RuntimeModel

_OTHERS = (
    'model',
    'config',
    'weights',
    'preset',
    'clip',
    'pretrained',
    'dino',
    'checkpoint',
    'method',
    'masks',
    'stage',
    'device',
    'trust',
    'compile',
    'unknown',
)
"""Options that ask for another model."""
_OF_MASKS = ('task', 'things', 'score')
"""Options that query-based models have."""


def load_runtime(args: argparse.Namespace, vocabulary: Vocabulary | None) -> RuntimeModel:
    """The exported model that ``segment --runtime`` names.

    Raises:
        UserError: If options are given that do not go with it, or it cannot be used.
    """
    from denseclip.runtime.manifest import Manifest

    manifest = Manifest.read(args.runtime)
    if manifest.gives == 'masks':
        check_others(args, manifest)
        model: RuntimeModel = _masks(args, vocabulary, manifest)
    else:
        check_others(args, manifest, _OF_MASKS)
        from denseclip.runtime.kinds import KINDS

        kind = KINDS['regions' if manifest.gives == 'regions' else 'labels'].load()
        model = kind(args.runtime, vocabulary, manifest=manifest, trust=args.trust, precision=args.precision)
    _ = model.vocabulary  # said before any picture is read: there are no words
    return model


def _masks(args: argparse.Namespace, vocabulary: Vocabulary | None, manifest: Manifest) -> RuntimeModel:
    """A query-based model with its task, countable classes and least score."""
    from denseclip.runtime.masks import RuntimeMaskModel

    model = RuntimeMaskModel(args.runtime, vocabulary, manifest=manifest, trust=args.trust, precision=args.precision)
    model.set_task(args.task or 'semantic')
    model.set_things(args.things)
    if args.score is not None:
        model.score = args.score
    return model


def load_anomaly_runtime(args: argparse.Namespace) -> RuntimeAnomalyModel:
    """The exported model that ``anomaly --runtime`` names, told what pictures show.

    Raises:
        ImportError: If a package is missing (the extra ``runtime-anomaly``).
        UserError: If options are given that do not go with it, or it cannot be used.
    """
    from denseclip.runtime.inspection import need_inspection
    from denseclip.runtime.manifest import Manifest

    manifest = Manifest.read(args.runtime)
    check_others(args, manifest)
    manifest.check_gives(args.runtime, 'states')
    need_inspection()
    from denseclip.runtime.anomaly import RuntimeAnomalyModel

    model = RuntimeAnomalyModel(args.runtime, manifest=manifest, trust=args.trust, precision=args.precision)
    model.set_object(args.object, args.domain, args.defects)
    return model


def load_detector_runtime(args: argparse.Namespace) -> RuntimeBoxModel:
    """The exported model that ``detect --runtime`` names.

    Raises:
        UserError: If options are given that do not go with it, or it cannot be used.
    """
    from denseclip.runtime.boxes import RuntimeBoxModel
    from denseclip.runtime.manifest import Manifest

    manifest = Manifest.read(args.runtime)
    check_others(args, manifest)
    model = RuntimeBoxModel(args.runtime, manifest=manifest, trust=args.trust, precision=args.precision)
    model.score = args.score
    return model


def add_runtime_option(parser: argparse.ArgumentParser) -> None:
    """``--runtime``."""
    parser.add_argument(
        '--runtime', metavar='DIR', help="a model of 'denseclip export', run without PyTorch, instead of --model"
    )


def check_others(args: argparse.Namespace, manifest: Manifest, more: Sequence[str] = ()) -> None:
    """Refuse options that ask for another model, and more of them.

    Args:
        args: The options; precisions that graphs know are taken, see ``denseclip.runtime.load``.
        manifest: Of the export; one of PyTorch's programs has to be trusted.
        more: Options that ask for more than it does.

    Raises:
        UserError: If some are given.
    """
    from denseclip.runtime.graphs import PRECISIONS

    others = [name for name in (*_OTHERS, *more) if not (name == 'trust' and manifest.needs_trust)]
    given: list[Any] = [name for name in others if getattr(args, name, None) not in (None, False, 'auto')]
    given += ['layout'] if args.layout != 'auto' else []
    given += ['precision'] if args.precision not in PRECISIONS else []
    if given:
        listed = ', '.join('--' + name.replace('_', '-') for name in given)
        raise UserError(f'--runtime runs an exported model, which knows no {listed}; leave one of them out.')
