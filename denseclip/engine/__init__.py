"""Training and testing on MMEngine: hooks, exactly resumable loops, and the functions behind the tools."""

from .detectron_optim import DetectronOptimWrapperConstructor
from .guided_optim import PromptGuideOptimWrapperConstructor
from .hooks import NonFiniteLossHook, RecipeCheckHook, SafeCheckpointHook, TrainingStateHook, VocabularyCheckHook
from .loops import ResumableEpochTrainLoop, ResumableIterTrainLoop
from .optim import TrainableOptimWrapperConstructor
from .runner import SuiteRunner
from .schedulers import WarmupPolyLR

__all__ = [
    'DetectronOptimWrapperConstructor',
    'NonFiniteLossHook',
    'PromptGuideOptimWrapperConstructor',
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
