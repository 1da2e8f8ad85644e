"""Safe loading of checkpoints on torch 2.6 and later.

``torch.load`` reads tensors and plain containers only, unless told otherwise. Checkpoints written by mmengine also
hold the logged history (``HistoryBuffer``) and NumPy scalars. They are allowed here by name, one by one; arbitrary
code in a checkpoint stays refused.
"""

from __future__ import annotations

from pickle import UnpicklingError
from typing import Any

import numpy as np

_STATISTICS = ('min', 'max', 'mean', 'current')


def allow_mmengine_checkpoints() -> None:
    """Let ``torch.load(weights_only=True)`` read what mmengine's Runner saves.

    :func:`denseclip.compat.install` arranges for it to run when mmengine is imported; calling it again is harmless.
    """
    from mmengine.logging import HistoryBuffer
    from torch.serialization import add_safe_globals

    add_safe_globals([HistoryBuffer, (restricted_getattr, 'builtins.getattr'), *_numpy_globals()])


def restricted_getattr(owner: Any, name: str) -> Any:
    """Stand in for the builtin ``getattr`` while a checkpoint is read.

    A pickled ``HistoryBuffer`` refers to its statistics as ``getattr(HistoryBuffer, 'mean')``. The builtin would hand
    a malicious file every attribute of every allowed object, and with it arbitrary code.

    Args:
        owner: Object whose attribute the file asks for.
        name: Attribute name.

    Returns:
        One of the statistics of ``HistoryBuffer``.

    Raises:
        UnpicklingError: For anything else; ``torch.load`` reports it as it does every refusal.
    """
    from mmengine.logging import HistoryBuffer

    if owner is HistoryBuffer and name in _STATISTICS:
        return getattr(HistoryBuffer, name)
    raise UnpicklingError(f'the checkpoint asks for attribute {name!r} of {owner!r}, which is not allowed')


def _numpy_globals() -> list[Any]:
    """NumPy's constructors under the module names of NumPy 1 and 2, and its types without objects and structures."""
    # Their home moved from numpy.core to numpy._core; what an array reduces to names it without a private import.
    reconstruct: Any = np.empty(0).__reduce__()[0]
    scalar: Any = np.float64(0).__reduce__()[0]
    constructors = [
        (function, f'{package}.multiarray.{function.__name__}')
        for function in (reconstruct, scalar)
        for package in ('numpy.core', 'numpy._core')
    ]
    # A pickled dtype sets its own state: object (O) and structured (V) types could then misdescribe their memory.
    dtypes = {type(np.dtype(code)) for code in np.typecodes['All'] if code not in 'OV'}
    return [np.ndarray, np.dtype, *constructors, *sorted(dtypes, key=lambda dtype: dtype.__name__)]
