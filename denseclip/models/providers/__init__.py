"""Plug-ins that bring what other networks or files know about a picture: which patches, and which pixels, are alike."""

from .base import AffinityProvider, RegionProvider
from .dino_affinity import DINOAffinity, SpectralAffinity
from .proposed_regions import ProposedRegions
from .region_files import RegionFiles
from .sam_aggregation import SAMAggregation
from .sam_regions import SAMRegions

__all__ = [
    'AffinityProvider',
    'DINOAffinity',
    'ProposedRegions',
    'RegionFiles',
    'RegionProvider',
    'SAMAggregation',
    'SAMRegions',
    'SpectralAffinity',
]
