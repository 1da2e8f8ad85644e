"""Metrics, as functions and as MMEngine metrics."""

from denseclip.evaluation.anomaly import AnomalyMetric
from denseclip.evaluation.boundary import BoundaryIoUMetric
from denseclip.evaluation.iou_files import IoUMetricWithFiles
from denseclip.evaluation.mask_ap_metric import MaskAPMetric
from denseclip.evaluation.named_coco_metric import NamedCocoMetric
from denseclip.evaluation.pairs import PairMetric
from denseclip.evaluation.panoptic_metric import PanopticQualityMetric
from denseclip.evaluation.proposal_recall import ProposalRecallMetric
from denseclip.evaluation.regions import RegionMetric
from denseclip.evaluation.semantic import SemanticMetric
from denseclip.evaluation.window_seams import WindowSeams

__all__ = [
    'AnomalyMetric',
    'BoundaryIoUMetric',
    'IoUMetricWithFiles',
    'MaskAPMetric',
    'NamedCocoMetric',
    'PairMetric',
    'PanopticQualityMetric',
    'ProposalRecallMetric',
    'RegionMetric',
    'SemanticMetric',
    'WindowSeams',
]
