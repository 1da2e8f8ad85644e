"""Text towers: strings to embeddings, at the true length of the prompts where that is exact."""

from .base import PromptTooLongError, TextTower
from .causal import CLIPTextTower
from .full_length import FullLengthTextTower
from .mapped import MappedText, MappedTextTower, TextMapping
from .no_tower import NoTextTower
from .sentence import SentenceTextTower
from .tokenizers import (
    BPETokenizer,
    FileTokenizer,
    HubTokenizer,
    MissingTokenizer,
    default_tokenizer,
    hub_tokenizer,
    wrap_tokenizer,
)

__all__ = [
    'BPETokenizer',
    'CLIPTextTower',
    'FileTokenizer',
    'FullLengthTextTower',
    'HubTokenizer',
    'MappedText',
    'MappedTextTower',
    'MissingTokenizer',
    'NoTextTower',
    'PromptTooLongError',
    'SentenceTextTower',
    'TextMapping',
    'TextTower',
    'default_tokenizer',
    'hub_tokenizer',
    'wrap_tokenizer',
]
