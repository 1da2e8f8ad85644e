"""Which models can be exported, how, and why the others cannot. A new model is a row here.

Whatever the row promises is compared with PyTorch at sizes that are not the example's before a file is written
(:mod:`denseclip.export.checks`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn

from denseclip.export.errors import ExportError


class ImageGraph(nn.Module):
    """A model as one function of pictures, and of class embeddings where it has words.

    Args:
        model: The model, ready for export or as it is.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model


class DenseCLIPGraph(ImageGraph):
    """DenseCLIP with the embeddings of its classes from outside; post-model prompting is inside."""

    def forward(self, images: Tensor, text: Tensor) -> Tensor:
        """Logits (N, K, h, w) of pictures (N, 3, H, W) for class embeddings (K, E)."""
        return self.model.logits_for(images, text)


@dataclass(frozen=True)
class Capability:
    """Whether a model can be exported.

    Attributes:
        exportable: Whether.
        reason: Why not; empty where it can.
        graph: Makes its graph.
    """

    exportable: bool
    reason: str = ''
    graph: Callable[[Any], ImageGraph] | None = None


def _no(reason: str) -> Capability:
    return Capability(False, reason)


def _denseclip(model: Any) -> Capability:
    if model.prompting == 'pre':
        return _no(
            'with prompting="pre" the text tower runs for every picture; its words would have to be part of the graph.'
        )
    if model.align_corners:
        return _no('its head resizes with align_corners=True, which the runtime does not do.')
    if model.binary:
        return _no('it tells two classes apart by a threshold on one score.')
    return Capability(True, graph=DenseCLIPGraph)


_READ_OUT = 'its training-free read-out of CLIP has not been made into a graph yet.'
_QUERIES = 'its masks come from queries and deformable attention, which have not been made into a graph yet.'
_STAGES = 'it runs CLIP on every mask that a first stage found, which takes two graphs; they have not been made yet.'
_BOXES = 'boxes need suppression inside the graph, which has not been made yet.'
_ANOMALY = 'the runtime has no heat maps of anomalies yet.'
_UNKNOWN = 'it has not been made into a graph yet.'
_TRAINING = 'it exists for training and gives no results.'
_TURNS = 'it runs another model on several copies of a picture; export that model.'

ROWS: Mapping[str, Callable[[Any], Capability] | str] = MappingProxyType(
    {
        'DenseCLIP': _denseclip,
        'OpenVocabularySegmentor': _READ_OUT,
        'ResCLIPSegmentor': _READ_OUT,
        'CLIPDINOiser': _READ_OUT,
        'DinoCLIP': _READ_OUT,
        'MaskCLIPPlus': 'its classes share a head with those of its teacher, which has not been made into a graph yet.',
        'FCCLIP': _QUERIES,
        'MAFTPlus': _QUERIES,
        'PMPFCCLIP': _QUERIES,
        'PMPMAFTPlus': _QUERIES,
        'PMPMask2Former': _QUERIES,
        'TwoStageSegmentor': _STAGES,
        'OVSeg': _STAGES,
        'PMPOVSeg': _STAGES,
        'DenseCLIPRetinaNet': _BOXES,
        'DenseCLIPMaskRCNN': _BOXES,
        'AnoVL': _ANOMALY,
        'WinCLIP': _ANOMALY,
        'AprilGAN': _ANOMALY,
        'ContrastiveCLIP': _TRAINING,
        'DINOPretraining': _TRAINING,
        'MaskAdaptedCLIP': _TRAINING,
        'DenseSegTTAModel': _TURNS,
        'ScoreAverageTTAModel': _TURNS,
    }
)
"""By name of the class: what decides about a model of it, or why none can be exported."""


def refuse(kind: str) -> None:
    """Refuse models of a class of which none can be exported.

    Args:
        kind: The ``type`` of a model in a config.

    Raises:
        ExportError: With the reason.
    """
    name = kind.rpartition('.')[2]
    row = ROWS.get(name, _UNKNOWN)
    if isinstance(row, str):
        raise ExportError(f'{name} cannot be exported: {row}')


def capability(model: Any) -> Capability:
    """Whether a model can be exported, and why not.

    Args:
        model: A model, or the class of one; of a class is said what holds for all of its models.
    """
    kind = model if isinstance(model, type) else type(model)
    row = ROWS.get(kind.__name__, _UNKNOWN)
    if isinstance(row, str):
        return _no(row)
    return Capability(True) if isinstance(model, type) else row(model)
