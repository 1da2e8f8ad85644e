"""Train mask models on miniworld, with and without some idea, and compare them on classes they have never seen."""

from .runs import StudyOptions, run_study
from .table import write_table
from .variants import VARIANTS, Variant, chosen

__all__ = ['VARIANTS', 'StudyOptions', 'Variant', 'chosen', 'run_study', 'write_table']
