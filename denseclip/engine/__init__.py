"""Training and testing on MMEngine: hooks, exactly resumable loops, optimizer recipe, and the functions behind the tools."""

from .hooks import NonFiniteLossHook, SafeCheckpointHook, TrainingStateHook, VocabularyCheckHook
from .loops import ResumableEpochTrainLoop, ResumableIterTrainLoop
from .runner import SuiteRunner

__all__ = [
    'NonFiniteLossHook',
    'ResumableEpochTrainLoop',
    'ResumableIterTrainLoop',
    'SafeCheckpointHook',
    'SuiteRunner',
    'TrainingStateHook',
    'VocabularyCheckHook',
]
