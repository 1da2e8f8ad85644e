"""Everything that makes the OpenMMLab stack run on current PyTorch, without a compiler.

:func:`install` puts the pieces in place; it must run before anything of mmcv, mmseg or mmdet is imported, which
``import denseclip`` sees to. See ``docs/installation.md`` for what each piece is for.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path

from denseclip.compat.finder import AfterImport, FallbackFinder

__all__ = ['LEAN_PARENT', 'install']

LEAN_PARENT = 'DENSECLIP_LEAN_PARENT'
"""Environment variable with the process that starts lean: its children do so, too (:mod:`denseclip.compat.lean`)."""

_HERE = Path(__file__).parent
_fallbacks = FallbackFinder(
    {'mmcv._ext': _HERE / 'mmcv_ext.py', 'pkg_resources': _HERE / 'pkg_resources_fallback.py'},
)
after_import = AfterImport()


def install() -> None:
    """Put the stand-ins and registrations in place.

    It is idempotent and imports nothing but the standard library: registrations with torch and mmengine happen when
    those modules are imported.

    - ``mmcv._ext``: operators from :mod:`denseclip.compat.ops`, unless mmcv has its compiled extension;
    - ``pkg_resources``: a small replacement, unless setuptools still has it;
    - ``torch.load``: mmengine's own checkpoints load with ``weights_only=True``;
    - addresses of weights (``https://``, ``torchvision://`` ...): compared with their sums, read as data only;
    - YAML: plain values only;
    - ``CPUAmpOptimWrapper`` in mmengine's registry;
    - ``Config.dump`` and ``Config.pretty_text``: names come back as they were;
    - registries: where they find the suite's modules.
    """
    if _fallbacks in sys.meta_path:
        return
    sys.meta_path.append(_fallbacks)
    sys.meta_path.insert(0, after_import)
    after_import.register('mmengine.logging', _allow_checkpoints)
    after_import.register('mmengine.optim', _register_amp)
    after_import.register('mmengine.config', _write_configs_safely)
    after_import.register('mmengine.registry', _add_locations)
    after_import.register('mmengine.fileio.handlers.yaml_handler', _read_yaml_as_data)
    after_import.register('mmengine.runner.checkpoint', _read_addresses_safely)
    if os.environ.get(LEAN_PARENT) == str(os.getppid()):
        import_module('denseclip.compat.lean').start_lean()


def _allow_checkpoints() -> None:
    import_module('denseclip.compat.checkpoints').allow_mmengine_checkpoints()


def _register_amp() -> None:
    import_module('denseclip.compat.amp')


def _write_configs_safely() -> None:
    import_module('denseclip.compat.config_text').install()


def _add_locations() -> None:
    import_module('denseclip.compat.registration').add_locations(sys.modules['mmengine.registry'])


def _read_addresses_safely() -> None:
    import_module('denseclip.compat.addresses').install()


def _read_yaml_as_data() -> None:
    import_module('denseclip.compat.yaml_data').install()
