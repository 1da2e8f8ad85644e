"""Mining of mask-noun pairs from captions: nouns, proposals, and CLIP that brings them together.

Source: Liang et al., "Open-Vocabulary Semantic Segmentation with Mask-adapted CLIP", 2023, section 3.2. The authors did
not publish this part of their code.
"""

from .encoder import RegionEncoder
from .matching import best_regions
from .nouns import NLTKNouns, NounExtractor, WordListNouns, caption_nouns, noun_extractor
from .proposals import PictureProposals
from .run import MiningResult, mine, shard
from .sources import CaptionPairs, LabelMapPairs, PairSource

__all__ = [
    'CaptionPairs',
    'LabelMapPairs',
    'MiningResult',
    'NLTKNouns',
    'NounExtractor',
    'PairSource',
    'PictureProposals',
    'RegionEncoder',
    'WordListNouns',
    'best_regions',
    'caption_nouns',
    'mine',
    'noun_extractor',
    'shard',
]
