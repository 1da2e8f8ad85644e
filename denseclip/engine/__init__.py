"""Training and testing on MMEngine: hooks, exactly resumable loops, and the functions behind the tools."""

from .hooks import NonFiniteLossHook, RecipeCheckHook, SafeCheckpointHook, TrainingStateHook, VocabularyCheckHook
from .loops import ResumableEpochTrainLoop, ResumableIterTrainLoop
from .optim import TrainableOptimWrapperConstructor
from .runner import SuiteRunner
from .schedulers import WarmupPolyLR

__all__ = [
    'NonFiniteLossHook',
    'RecipeCheckHook',
    'ResumableEpochTrainLoop',
    'ResumableIterTrainLoop',
    'SafeCheckpointHook',
    'SuiteRunner',
    'TrainableOptimWrapperConstructor',
    'TrainingStateHook',
    'VocabularyCheckHook',
    'WarmupPolyLR',
]
