"""A model from the name of a training-free method and a CLIP, and the pictures that it wants."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from open_clip.pretrained import list_pretrained_tags_by_model

from denseclip.apis.errors import UserError
from denseclip.apis.turns import builds
from denseclip.clip.presets import preset as find_preset
from denseclip.compat.logs import quiet
from denseclip.files.shipped import shipped_configs

DEFAULT_CLIP = 'ViT-B-16'
DEFAULT_TAG = 'openai'
_LONGEST = 2048
_WINDOWS_AT_ONCE = 8


@builds
def preset_model(
    name: str,
    vocabulary: Any,
    clip: str = DEFAULT_CLIP,
    pretrained: str | Path | None = None,
    trust: bool = False,
    **settings: Any,
) -> tuple[Any, list[dict[str, Any]]]:
    """Build a preset's model with its weights.

    Args:
        name: Name of the preset.
        vocabulary: Classes, in any form that ``Vocabulary.of`` knows.
        clip: open_clip architecture, ``hf-hub:`` or ``local-dir:``.
        pretrained: Tag or file; None is OpenAI's tag for architectures that have it.
        trust: Read a file even if that runs code in it.
        **settings: Further arguments of the segmentor.

    Returns:
        The model, and the test transforms of its protocol (shorter side and windows of the paper).

    Raises:
        UserError: If the preset is unknown, lacks something, or there are no weights to take.
    """
    try:
        found = find_preset(name)
    except ValueError as error:
        raise UserError(str(error)) from error
    check_name(name)
    missing = [part for part in found.plug_ins if part not in settings]
    if missing:
        raise lacks(name, f'give {" and ".join(_HOW[part] for part in missing)}')
    window, stride = (found.window,) * 2, (found.stride,) * 2
    windows = {'mode': 'slide', 'crop_size': window, 'stride': stride, 'window_batch': _WINDOWS_AT_ONCE}
    settings.setdefault('test_cfg', windows)
    spec = {'preset': name, **clip_settings(clip, pretrained, trust)}
    init_default_scope('mmseg')
    model = MODELS.build({'type': found.type, 'clip': spec, 'vocabulary': vocabulary, **settings})
    with quiet():
        model.init_weights()
    steps: list[dict[str, Any]] = [
        {'type': 'Resize', 'scale': (_LONGEST, found.side), 'keep_ratio': True},
        {'type': 'PackSegInputs'},
    ]
    return model, steps


def check_name(name: str) -> None:
    """Refuse a preset that its name alone cannot bring, since it is a checkpoint.

    Args:
        name: Name of a preset.

    Raises:
        UserError: Naming the configs of its method.
    """
    if find_preset(name).is_checkpoint:
        configs = [f'configs/{known}.py' for known in shipped_configs() if known.startswith(f'{name}/{name}_vit-b')]
        raise lacks(
            name,
            f'leave its name out (--preset, --model) and give --config {configs[0]} (config=), or another one of that '
            'folder, and --weights (weights=)',
        )


_HOW = {
    'affinity': '--dino WEIGHTS (dino=, or affinity=dict(...))',
    'sam': '--masks sam:WEIGHTS (masks=, or sam=dict(...))',
    'regions': '--masks SOURCE (masks=, or regions=dict(...))',
}


def lacks(name: str, how: str) -> UserError:
    """The error of a preset that is to run without what it needs besides CLIP.

    Args:
        name: Name of the preset.
        how: What to do, in words.
    """
    return UserError(f"preset '{name}' needs {find_preset(name).needs}: {how}.")


def clip_settings(clip: str, pretrained: str | Path | None, trust: bool) -> dict[str, Any]:
    """A CLIP model and where its weights are, as ``OpenCLIPParts`` takes them.

    Raises:
        UserError: If there are no weights to take, or two.
    """
    if not clip.startswith(('hf-hub:', 'local-dir:')):
        return {'model': clip, 'pretrained': {'source': str(pretrained or _default_tag(clip)), 'trust': trust}}
    if pretrained is not None:
        raise UserError(f"'{clip}' brings its own weights: leave --pretrained (pretrained=) out.")
    return {'model': clip}


def _default_tag(clip: str) -> str:
    tags = list_pretrained_tags_by_model(clip.replace('/', '-'))
    if DEFAULT_TAG in tags:
        return DEFAULT_TAG
    raise UserError(
        f"say which weights of '{clip}' to take with --pretrained (pretrained=): a file"
        + (f', or one of {", ".join(tags)}.' if tags else '; open_clip has no tags for it.')
    )
