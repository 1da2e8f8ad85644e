"""A grid of open-vocabulary evaluations: what ``tools/benchmark_open_vocab.py`` runs.

Every cell (preset, set, protocol, weights) is one file of results; a cell that was interrupted goes on at the picture
where it was saved last, and its numbers are those of a run in one piece.
"""

from .cells import Cell, CellOptions, cell_config, make_cells, towers_of
from .evaluate import Progress, evaluate_cell
from .grid import GridBusyError, run_grid
from .table import write_tables, write_towers

__all__ = [
    'Cell',
    'CellOptions',
    'GridBusyError',
    'Progress',
    'cell_config',
    'evaluate_cell',
    'make_cells',
    'run_grid',
    'towers_of',
    'write_tables',
    'write_towers',
]
