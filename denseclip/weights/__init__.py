"""Reading, writing, finding and converting weights. Pure PyTorch: nothing here needs MMEngine."""

from .errors import UntrustedWeightsError, WeightFileError, WeightMismatchError
from .io import (
    Checkpoint,
    LoadReport,
    is_torchscript,
    load_into,
    read_checkpoint,
    read_safetensors,
    read_state_dict,
    strip_prefix,
)
from .positions import resize_positions, stretch_positions
from .source import resolve, weight_file
from .uninitialised import Uninitialised
from .usable import require_usable
from .writing import usable_target, write_safetensors

__all__ = [
    'Checkpoint',
    'LoadReport',
    'Uninitialised',
    'UntrustedWeightsError',
    'WeightFileError',
    'WeightMismatchError',
    'require_usable',
    'is_torchscript',
    'load_into',
    'read_checkpoint',
    'read_safetensors',
    'read_state_dict',
    'resize_positions',
    'resolve',
    'stretch_positions',
    'strip_prefix',
    'usable_target',
    'weight_file',
    'write_safetensors',
]
