"""What all teachers share: they take raw pictures, learn nothing, and are not stored in checkpoints."""

from __future__ import annotations

from torch import nn

from denseclip.core.lazy_weights import LazyWeights
from denseclip.models.unsaved import leave_out_of_checkpoints


class LazyModule(LazyWeights, nn.Module):
    """A module that reads its pretrained weights when it is first used."""

    def init_weights(self) -> None:
        """Read the weights of this module and of those inside it (MMEngine calls this before a training)."""
        for module in self.modules():
            if isinstance(module, LazyWeights):
                module.need_weights()


class Teacher(LazyModule):
    """A frozen network that gives targets for pictures in [0, 1] (RGB).

    Its weights come from their own source whenever it is built and are left out of checkpoints
    (``not_saved_prefixes``), so that a trained student is a small file.
    """

    not_saved_prefixes: tuple[str, ...] = ('',)

    def __init__(self) -> None:
        super().__init__()
        leave_out_of_checkpoints(self)

    def train(self, mode: bool = True) -> Teacher:
        """Stay in evaluation mode."""
        del mode
        return super().train(False)
