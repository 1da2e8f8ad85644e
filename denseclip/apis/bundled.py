"""The model that comes with the package, so that the first command works without a download."""

from __future__ import annotations

import json
from pathlib import Path

from denseclip.apis.errors import UserError
from denseclip.apis.files import write_file

ASSETS = Path(__file__).resolve().parents[1] / 'assets'
"""Ships inside the package (``package_data``), so it is found in a source checkout and in an installed wheel."""
DEFAULT_MODEL = 'denseclip_fpn_efficientnet-lite0_camvid'


def default_model() -> tuple[Path, Path]:
    """Config and weights of the bundled model.

    Returns:
        A JSON config (data, not a program) and a safetensors file.

    Raises:
        UserError: if this copy of the package came without them.
    """
    config, weights = ASSETS / f'{DEFAULT_MODEL}.json', ASSETS / f'{DEFAULT_MODEL}.safetensors'
    for path in (config, weights):
        if not path.is_file():
            raise UserError(
                f"the bundled model is incomplete: '{path.name}' is not in '{ASSETS}'. Install the package again, or "
                'name a model with --config and --weights (config=, weights= in Python).'
            )
    return config, weights


def export_bundle(
    config: str | Path, weights: str | Path, folder: str | Path = ASSETS, name: str = DEFAULT_MODEL, half: bool = False
) -> tuple[Path, Path]:
    """Turn a trained model into the two files of a bundle.

    Args:
        config: the config it was trained with; only what inference needs is kept.
        weights: its checkpoint.
        folder: where to write; earlier files of this name are replaced.
        name: file stem.
        half: store floating-point tensors as float16 (half the size; results may differ slightly).

    Returns:
        Config and weights, as :func:`default_model`.
    """
    from denseclip.apis.config import load_config
    from denseclip.weights import read_state_dict, resolve, weight_file, write_safetensors

    cfg = load_config(config)
    state = read_state_dict(weight_file(resolve(weights)))
    if half:
        state = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    kept = {key: cfg.to_dict()[key] for key in ('default_scope', 'model', 'test_pipeline') if key in cfg}
    text = json.dumps(kept, indent=1) + '\n'
    written = write_safetensors(state, folder / f'{name}.safetensors', {'model': name})
    return write_file(folder / f'{name}.json', text), written
