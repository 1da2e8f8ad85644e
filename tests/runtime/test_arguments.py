"""Exported models take what the models take that they were made from."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from denseclip.apis.detector import Detector
from denseclip.apis.inferencer import Inferencer
from denseclip.apis.mask_inferencer import MaskInferencer
from denseclip.runtime.boxes import RuntimeBoxModel
from denseclip.runtime.masks import RuntimeMaskModel
from denseclip.runtime.model import RuntimeModel


@pytest.mark.parametrize(
    ('exported', 'model'),
    [
        (RuntimeModel.segment, Inferencer.segment),
        (RuntimeMaskModel.segment, MaskInferencer.segment),
        (RuntimeBoxModel.detect, Detector.detect),
    ],
)
def test_same_arguments_as_the_model(exported: Callable[..., Any], model: Callable[..., Any]) -> None:
    """Code moves from one to the other without a change."""
    assert inspect.signature(exported).parameters == inspect.signature(model).parameters
