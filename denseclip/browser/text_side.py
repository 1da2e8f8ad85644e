"""The text side in fewer bytes, by onnxruntime's own tool, and what that costs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from denseclip.apis.errors import UserError
from denseclip.runtime.graphs import TextSide, unit_rows
from denseclip.runtime.manifest import Words

LEAST_COSINE = 0.98
_PROBES = ('sky', 'building', 'road', 'tree', 'person', 'bicycle', 'a rusty pipe', 'traffic light', 'temple', 'dog')


@dataclass(frozen=True)
class TextCost:
    """What a text side in int8 costs.

    Attributes:
        cosine: Least cosine between embeddings of the same sentence in int8 and in float32.
        sentences: How many were compared.
    """

    cosine: float
    sentences: int


def quantise_text(graph: Path, target: Path, words: Words, tokenizer: Path, names: Sequence[str]) -> TextCost:
    """Write a text tower with matrices and its table of words in int8, a scale for each column.

    Args:
        graph: The tower.
        target: File to write.
        words: What the manifest says of words.
        tokenizer: ``tokenizer.json``.
        names: Words that both are compared on, beside some usual ones.

    Raises:
        UserError: If an embedding turns by more than :data:`LEAST_COSINE` allows.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # advice to run other tools first
    try:
        quantize_dynamic(
            graph, target, weight_type=QuantType.QInt8, per_channel=True, op_types_to_quantize=['MatMul', 'Gather']
        )
    finally:
        logging.disable(before)
    sentences = [words.templates[0].replace('{}', name) for name in dict.fromkeys([*names, *_PROBES])]
    right, others = (unit_rows(TextSide(words, one, tokenizer, 1).sentences(sentences)) for one in (graph, target))
    least = float(np.min((right * others).sum(axis=1)))
    if least < LEAST_COSINE:
        raise UserError(
            f'the text side in int8 turns an embedding to a cosine of {least:.3f}, {LEAST_COSINE} is asked for; build '
            'the page with --text fp32.'
        )
    return TextCost(least, len(sentences))
