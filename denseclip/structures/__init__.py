"""Data samples: what data sets give to models and models give back.

The names below are imported on first use: results are made of numbers, and read where there is no torch, too.
"""

from denseclip.files.lazy import on_first_use

__all__, __getattr__, __dir__ = on_first_use(
    __name__,
    {
        'AnomalyDataSample': 'anomaly_sample',
        'MaskProposals': 'mask_proposals',
        'MaskProposer': 'mask_proposals',
    },
)
