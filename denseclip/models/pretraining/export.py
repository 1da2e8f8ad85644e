"""From a pretraining checkpoint to a folder that ``load_clip`` and timm read by ``local-dir:``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.registry import MODELS
from torch import Tensor, nn

from denseclip.clip.anomaly_prompts.learnt import FILE_NAME as PAIR_FILE
from denseclip.clip.small_bpe import FILE_NAME, bpe_file, word_list
from denseclip.clip.writing import WEIGHTS, write_clip_config, write_clip_folder
from denseclip.files.provenance import provenance
from denseclip.weights import WeightMismatchError, load_into, write_safetensors
from denseclip.weights.publish import to_half

from ..anomaly.base import AnomalyModel
from ..region_classifier import PROMPTS_FILE
from ..segmentors.spar import SPAR
from .contrastive import ContrastiveCLIP
from .dino import DINOPretraining
from .mask_adaptation import MaskAdaptedCLIP
from .nola import NoLA
from .prompt_files import write_mask_prompts
from .refinement import RefinedCLIP
from .yes_no import YesNoCLIP


def export_pretrained(
    model_config: Mapping[str, Any], state: Mapping[str, Tensor], out: str | Path, *, half: bool = True
) -> Path:
    """Write the weights of a pretraining for use.

    Args:
        model_config: ``model`` of the training's config.
        state: State dict of the training's checkpoint.
        out: Folder to write into.
        half: Store large tensors in half precision.

    Returns:
        The weight file.

    Raises:
        ValueError: The config is of no pretraining.
        WeightMismatchError: The weights are of another model.
    """
    model = MODELS.build(dict(model_config))
    load_into(model, state, source='the checkpoint')
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(model, ContrastiveCLIP):
        return export_clip(model, folder, half=half)
    if isinstance(model, DINOPretraining):
        return export_dino(model, folder, half=half)
    if isinstance(model, MaskAdaptedCLIP):
        return export_adapted_clip(model, folder, half=half)
    if isinstance(model, NoLA):
        return write_clip_folder(model.student.parts.clip, folder, half=half)
    if isinstance(model, YesNoCLIP):
        return export_yes_no(model, folder, half=half)
    if isinstance(model, RefinedCLIP):
        return write_clip_folder(model.parts[0].clip, folder, half=half)
    if isinstance(model, SPAR):
        return write_clip_folder(model.parts.clip, folder, half=half)
    if isinstance(model, AnomalyModel) and model.pair is not None:
        return model.pair.write(folder / PAIR_FILE)
    raise ValueError(f"the config's model is {type(model).__name__}; only pretrainings and adapted CLIPs export")


def export_clip(model: ContrastiveCLIP, folder: Path, *, half: bool = True) -> Path:
    """``open_clip_config.json``, ``open_clip_model.safetensors`` and the tokenizer's list of merges.

    Args:
        model: The trained model.
        folder: Exists.
        half: Store large tensors in half precision.

    Returns:
        The weight file.
    """
    config = json.loads(json.dumps(model.architecture))
    if model.words is not None:
        (folder / FILE_NAME).write_bytes(bpe_file(word_list(model.words)))
        config['text_cfg']['tokenizer_kwargs'] = {'bpe_path': FILE_NAME}
    preprocess = {'size': config['vision_cfg'].get('image_size', 224), **_normalisation(model)}
    preprocess.update(interpolation='bicubic', resize_mode='shortest')
    return _write_clip(folder, config, preprocess, model.clip, half)


def export_adapted_clip(model: MaskAdaptedCLIP, folder: Path, *, half: bool = True) -> Path:
    """A CLIP after mask adaptation: the files of :func:`export_clip`, and its mask and deep prompts if it has any.

    Args:
        model: The trained model.
        folder: Exists.
        half: Store large tensors in half precision; prompts stay as they are.

    Returns:
        The weight file.
    """
    (folder / PROMPTS_FILE).unlink(missing_ok=True)  # prompts of an earlier export belong to other weights
    if model.mask_embedding is not None:
        write_mask_prompts(model.mask_embedding, folder)
    return write_clip_folder(model.loaded[0], folder, half=half)


def export_yes_no(model: YesNoCLIP, folder: Path, *, half: bool = True) -> Path:
    """A CLIP with the second text tower that it was trained with, for ``background='clipn'``.

    Args:
        model: The trained model.
        folder: Exists.
        half: Store large tensors of CLIP in half precision; the second tower stays as it is.

    Returns:
        The weight file.
    """
    loaded = model.loaded[0]
    loaded.no_text = {name: value.detach() for name, value in model.no_text.state_dict().items()}
    return write_clip_folder(loaded, folder, half=half)


def _write_clip(folder: Path, config: Any, preprocess: Any, clip: nn.Module, half: bool) -> Path:
    """The files of a CLIP as open_clip's ``local-dir:`` wants them."""
    write_clip_config(folder, config, preprocess)
    state = clip.state_dict()
    return write_safetensors(to_half(state) if half else state, folder / WEIGHTS, provenance())


def export_dino(model: DINOPretraining, folder: Path, *, half: bool = True) -> Path:
    """``config.json`` and ``model.safetensors`` of the teacher's trunk, as timm's ``local-dir:`` wants them.

    Args:
        model: The trained model.
        folder: Exists.
        half: Store large tensors in half precision.

    Returns:
        The weight file.
    """
    means = _normalisation(model)
    side = model.trunk_args.get('img_size', 224)
    config = {
        'architecture': model.trunk,
        'num_classes': 0,
        'num_features': model.teacher.trunk.num_features,
        'global_pool': 'token',
        'model_args': model.trunk_args,
        'pretrained_cfg': {
            **means,
            'input_size': [3, side, side],
            'interpolation': 'bicubic',
            'crop_pct': 1.0,
            'num_classes': 0,
            'first_conv': 'patch_embed.proj',
            'classifier': 'head',
        },
    }
    _write_json(folder / 'config.json', config)
    state = model.teacher.trunk.state_dict()
    return write_safetensors(to_half(state) if half else state, folder / 'model.safetensors', provenance())


def _normalisation(model: Any) -> dict[str, list[float]]:
    """Mean and std of the data preprocessor, for pixels in 0..1.

    Raises:
        WeightMismatchError: It does not normalise to known numbers of RGB.
    """
    processor = model.data_preprocessor
    if not hasattr(processor, 'mean'):
        raise WeightMismatchError('the data preprocessor has no mean and std, so the weights cannot say how to be fed')
    return {k: [float(v) / 255 for v in getattr(processor, k).flatten()] for k in ('mean', 'std')}


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + '\n', encoding='utf-8')
