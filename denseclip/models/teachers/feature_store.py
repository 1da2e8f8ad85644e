"""Features of pictures on disk: what a slow teacher says of a picture is asked for once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from denseclip.weights import read_safetensors, write_safetensors


class FeatureStore:
    """A folder of features, found by the pixels of a picture and by what makes features of it.

    Values are kept in half precision, and given so from the first time on: a training that is stopped and goes on sees
    the same numbers.

    Args:
        folder: Where they lie; may be shared by teachers and runs, nothing in it is deleted.
        teacher: Its weights are a part of what features are found by.
        settings: So is whatever else decides about them; plain values.
    """

    def __init__(self, folder: str | Path, teacher: nn.Module, settings: Mapping[str, Any]) -> None:
        self.folder = Path(folder)
        made_by = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
        for name, value in sorted(teacher.state_dict().items()):
            made_by.update(name.encode())
            made_by.update(_bytes(value))
        self._made_by = made_by

    def __call__(self, pixels: Tensor, compute: Callable[[], Tensor]) -> Tensor:
        """Features of a picture, computed if they are not there.

        Args:
            pixels: The picture in whole numbers of 0..255, (3, H, W), uint8.
            compute: Makes them, of any shape.
        """
        key = self._made_by.copy()
        key.update(str(tuple(pixels.shape)).encode())
        key.update(_bytes(pixels))
        name = key.hexdigest()
        path = self.folder / name[:2] / f'{name}.safetensors'
        if path.is_file():
            return read_safetensors(path).state_dict['features'].to(pixels.device).float()
        features = compute().half()
        write_safetensors({'features': features.cpu()}, path)
        return features.float()


def _bytes(value: Tensor) -> bytes:
    whole = value.detach().cpu().contiguous()
    return whole.float().numpy().tobytes() if whole.is_floating_point() else whole.numpy().tobytes()
