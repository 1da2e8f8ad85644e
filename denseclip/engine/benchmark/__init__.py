"""Measuring models and their parts on this machine: what ``tools/benchmark.py`` calls.

Comparisons run both versions in one process, in turn, and report the ratio of the medians, because absolute times on a
busy machine mean little.
"""

from .anomaly_measures import AnomalyOptions, benchmark_anomaly
from .label_map import LabelMapOptions, benchmark_label_map
from .model import benchmark_model
from .report import Report, Table
from .tasks import PICTURE
from .text import TextOptions, benchmark_text
from .vocabulary import VocabularyOptions, benchmark_vocabulary
from .workload import ModelOptions

__all__ = [
    'PICTURE',
    'AnomalyOptions',
    'LabelMapOptions',
    'ModelOptions',
    'Report',
    'Table',
    'TextOptions',
    'VocabularyOptions',
    'benchmark_anomaly',
    'benchmark_label_map',
    'benchmark_model',
    'benchmark_text',
    'benchmark_vocabulary',
]
