"""Reading, writing, finding and converting weights. Pure PyTorch: nothing here needs MMEngine."""

from .errors import UntrustedWeightsError, WeightFileError, WeightMismatchError
from .io import (
    Checkpoint,
    LoadReport,
    is_torchscript,
    load_into,
    read_checkpoint,
    read_state_dict,
    strip_prefix,
    write_safetensors,
)
from .positions import resize_positions
from .source import resolve, weight_file

__all__ = [
    'Checkpoint',
    'LoadReport',
    'UntrustedWeightsError',
    'WeightFileError',
    'WeightMismatchError',
    'is_torchscript',
    'load_into',
    'read_checkpoint',
    'read_state_dict',
    'resize_positions',
    'resolve',
    'strip_prefix',
    'weight_file',
    'write_safetensors',
]
