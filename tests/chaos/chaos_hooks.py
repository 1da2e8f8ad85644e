"""A hook of the faults' training config: it makes a loss NaN where a file asks for it."""

import os
from pathlib import Path

from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module(force=True)
class PoisonHook(Hook):
    """Put NaN into the pictures of the iteration whose number stands in the file named by ``POISON``."""

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        """Poison the batch."""
        file = Path(os.environ.get('POISON', ''))
        if file.is_file() and runner.iter == int(file.read_text()):
            data_batch['inputs'] = [picture.float() * float('nan') for picture in data_batch['inputs']]
