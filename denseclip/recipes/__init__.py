"""Parts of configs that depend on a size, a number of classes or a width, as functions that text configs import.

A config that has ``_base_`` may import them below it; only what they return is left in the resolved config. Nothing
heavy is imported here.
"""

from .models import attention_pool, efficientnet_lite0, imagenet_r50, sentence_guidance, text_guidance, windowed_vit
from .pipelines import (
    anomaly_steps,
    box_eval_steps,
    box_train_steps,
    crop_train_steps,
    eval_steps,
    ignored_label,
    lsj_steps,
    tta_steps,
)

__all__ = [
    'anomaly_steps',
    'attention_pool',
    'box_eval_steps',
    'box_train_steps',
    'crop_train_steps',
    'efficientnet_lite0',
    'eval_steps',
    'ignored_label',
    'imagenet_r50',
    'lsj_steps',
    'sentence_guidance',
    'text_guidance',
    'tta_steps',
    'windowed_vit',
]
