"""CLIP towers, prompts, vocabularies and text embeddings. Pure PyTorch: nothing here needs MMEngine.

The names below are imported on first use, so that a vocabulary can be read without loading any network code.
"""

import importlib
from typing import Any

_HOMES = {
    'CLIPTextTower': 'text',
    'ClassEntry': 'vocabulary',
    'DenseReadOut': 'towers',
    'ImageTower': 'towers',
    'LoadedCLIP': 'loading',
    'PreprocessSpec': 'preprocess',
    'PromptTooLongError': 'text',
    'SentenceTextTower': 'text',
    'TextBank': 'text_bank',
    'TextEmbeddings': 'text_bank',
    'TextTower': 'text',
    'TowerOutput': 'towers',
    'Vocabulary': 'vocabulary',
    'VocabularyError': 'vocabulary',
    'build_image_tower': 'towers',
    'load_clip': 'loading',
}
__all__ = sorted(_HOMES)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(importlib.import_module(f'{__name__}.{_HOMES[name]}'), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
