"""CLIP towers, prompts, vocabularies and text embeddings. Pure PyTorch: nothing here needs MMEngine.

The names below are imported on first use, so that a vocabulary can be read without loading any network code.
"""

from denseclip.files.lazy import on_first_use

__all__, __getattr__, __dir__ = on_first_use(
    __name__,
    {
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
    },
)
