"""A lean start for commands that run models: the host stack is imported as far as the model needs it.

Python imports a package before any of its modules, and the ``__init__`` of the host's packages import all they have:
every model, and with them scikit-learn, transformers, matplotlib and a compiler. :func:`start_lean` makes packages
import a module when it is asked for (:mod:`.packages`), registries find models so (:mod:`.registries`), a few imports
wait (:mod:`.deferred`), and PyTorch notes where its operators are defined without reading files (:mod:`.sources`). All
names stay where they are, for user's code, too; only what nobody asks for is never imported. The Python API does not
use it. Processes that a lean one starts, such as those that load data where they are not forked, start lean, too.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from importlib import import_module

from .deferred import DeferredImports, Statement
from .packages import LazyPackages, run_whole

_LAZY = (
    'denseclip.clip.text',
    'denseclip.clip.towers',
    'denseclip.datasets',
    'denseclip.engine',
    'denseclip.evaluation',
    'denseclip.models',
    'mmdet',
    'mmengine.hooks',
    'mmengine.model',
    'mmengine.optim',
    'mmengine.runner',
    'mmseg',
    'open_clip',
    'timm.models',
    'torchvision.datasets',
)
_WITH_EFFECTS = ('mmdet.registry', 'mmdet.structures.bbox', 'mmseg.registry')  # they make and fill registries
_DEFERRED: dict[str, tuple[Statement, ...]] = {
    'mmseg.datasets.transforms.transforms': (
        ('from scipy.ndimage import gaussian_filter', 'scipy.ndimage', ('gaussian_filter',)),
    ),
    'open_clip.model': (  # its text towers of transformers, which few CLIPs have
        ('from .hf_model import HFTextEncoder', 'open_clip.hf_model', ('HFTextEncoder',)),
    ),
    'open_clip.pretrained': (
        ('    from huggingface_hub import hf_hub_download', 'huggingface_hub', ('hf_hub_download',)),
    ),
    'timm.models._hub': (
        (
            '    from huggingface_hub import HfApi, hf_hub_download, model_info',
            'huggingface_hub',
            ('HfApi', 'hf_hub_download', 'model_info'),
        ),
        (
            '    from huggingface_hub.utils import EntryNotFoundError, RepositoryNotFoundError',
            'huggingface_hub.utils',
            ('EntryNotFoundError', 'RepositoryNotFoundError'),
        ),
    ),
    'torchvision.ops.roi_align': (
        (
            'from torch._dynamo.utils import is_compile_supported',
            'torch._dynamo.utils',
            ('is_compile_supported',),
        ),
    ),
}


def start_lean() -> None:
    """Import the host stack lazily in this process, as far as it is not imported yet. Idempotent."""
    if is_lean():
        return
    compat = import_module('denseclip.compat')
    os.environ[compat.LEAN_PARENT] = str(os.getpid())
    behind = sys.meta_path.index(compat.after_import) + 1
    sys.meta_path[behind:behind] = [LazyPackages(_is_lazy), DeferredImports(_DEFERRED)]
    compat.after_import.register('mmengine.registry', _watch_registries)
    compat.after_import.register('timm.models._registry', _watch_timm)
    compat.after_import.register('torch._library.utils', _name_sources_quickly)


def is_lean() -> bool:
    """Whether this process is a command's own, in which :func:`start_lean` was called."""
    return any(isinstance(finder, LazyPackages) for finder in sys.meta_path)


def import_whole(packages: Iterable[str]) -> None:
    """Import what a lean start left out of packages that are in use.

    Args:
        packages: Full names; others, and those of which nothing is imported, stay as they are.
    """
    for package in packages:
        if package in sys.modules:
            run_whole(sys.modules[package])


def _is_lazy(package: str) -> bool:
    return package not in _WITH_EFFECTS and any(package == root or package.startswith(f'{root}.') for root in _LAZY)


def _watch_registries() -> None:
    import_module('denseclip.compat.lean.registries').install()


def _watch_timm() -> None:
    import_module('denseclip.compat.lean.timm_names').install()


def _name_sources_quickly() -> None:
    import_module('denseclip.compat.lean.sources').install()
