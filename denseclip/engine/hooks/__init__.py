"""Hooks that MMEngine runs during training and testing."""

from .non_finite_loss import NonFiniteLossHook
from .recipe_check import RecipeCheckHook
from .safe_checkpoint import SafeCheckpointHook
from .training_state import TrainingStateHook
from .vocabulary_check import VocabularyCheckHook

__all__ = [
    'NonFiniteLossHook',
    'RecipeCheckHook',
    'SafeCheckpointHook',
    'TrainingStateHook',
    'VocabularyCheckHook',
]
