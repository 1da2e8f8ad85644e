"""Hooks that MMEngine runs during training and testing."""

from .compute import ComputeHook
from .damaged_files import DamagedFilesHook
from .non_finite_loss import NonFiniteLossHook
from .painted_results import PaintedResultsHook
from .pixel_head import PixelHeadHook
from .precise_bn import PreciseBNHook
from .recipe_check import RecipeCheckHook
from .safe_checkpoint import SafeCheckpointHook
from .self_training import SelfTrainingHook
from .tracked_pictures import TrackedPicturesHook
from .training_state import TrainingStateHook
from .vocabulary_check import VocabularyCheckHook

__all__ = [
    'ComputeHook',
    'DamagedFilesHook',
    'NonFiniteLossHook',
    'PaintedResultsHook',
    'PixelHeadHook',
    'PreciseBNHook',
    'RecipeCheckHook',
    'SafeCheckpointHook',
    'SelfTrainingHook',
    'TrackedPicturesHook',
    'TrainingStateHook',
    'VocabularyCheckHook',
]
