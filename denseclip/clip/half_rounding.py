"""Weights as OpenAI's loader hands them over: through float16, even where float32 is computed with."""

from __future__ import annotations

import torch
from open_clip.model import convert_weights_to_lp
from torch import nn


@torch.no_grad()
def round_through_half(model: nn.Module) -> None:
    """Round the weights that OpenAI's loader keeps in float16, in place; the model stays in its own precision.

    These are convolutions, linear layers, attention and both projections; norms and embeddings stay exact. Results that
    were published with CLIPs loaded in this way (OVSeg's among them, when it is given a file of a CLIP) differ from
    those of exact weights in the fourth digit.

    Args:
        model: An open_clip model.
    """
    places = {name: parameter.dtype for name, parameter in model.named_parameters()}
    convert_weights_to_lp(model, torch.float16)
    for name, parameter in model.named_parameters():
        parameter.data = parameter.data.to(places[name])
