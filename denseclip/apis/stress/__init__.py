"""How far a model's results hold where pictures, words or grounds are not those it is used to."""

from denseclip.apis.stress.loading import Subject, load_subject
from denseclip.apis.stress.run import PARTS, StressOptions, stress

__all__ = ['PARTS', 'StressOptions', 'Subject', 'load_subject', 'stress']
