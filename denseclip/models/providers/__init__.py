"""Plug-ins that bring what other networks or files know about a picture: which patches, and which pixels, are alike."""

from .base import AffinityProvider, MaskRegions, RegionProvider
from .dino_affinity import DINOAffinity, SpectralAffinity
from .proposed_regions import ProposedRegions
from .region_files import RegionFiles
from .sam_regions import SAMRegions
from .transformers_regions import TransformersRegions

__all__ = [
    'AffinityProvider',
    'DINOAffinity',
    'MaskRegions',
    'ProposedRegions',
    'RegionFiles',
    'RegionProvider',
    'SAMRegions',
    'SpectralAffinity',
    'TransformersRegions',
]
