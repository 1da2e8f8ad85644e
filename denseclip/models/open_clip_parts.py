"""Both towers of an open_clip model from a config, built without weights and filled when they are needed."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import open_clip
from torch import nn

from denseclip.clip.errors import UnknownModelError, nearest
from denseclip.clip.half_rounding import round_through_half
from denseclip.clip.loading import LoadedCLIP, build_clip, fit_state, load_clip
from denseclip.clip.preprocess import PreprocessSpec
from denseclip.clip.presets import preset
from denseclip.clip.text import CLIPTextTower, NoTextTower, TextTower
from denseclip.clip.text.no_tower import FILE_NAME as NO_TEXT
from denseclip.clip.towers import DenseReadOut, ImageTower
from denseclip.files.shipped import here_or_shipped
from denseclip.weights import load_into, read_checkpoint, resolve, weight_file
from denseclip.weights.convert.clip_family import no_tower_state

from .clip_weights import Pretrained, clip_state, settings_of, spec_of, tag_config

FOLDERS = ('hf-hub:', 'local-dir:')


class OpenCLIPParts:
    """An open_clip model that knows where its weights are, and reads them once, when asked to.

    Args:
        model: open_clip architecture, ``hf-hub:`` or ``local-dir:`` (their weights come with them, so ``pretrained``
            must be None or the same).
        pretrained: One of its tags, a file, or a dict with ``source`` and ``trust``; None leaves fresh weights.
        arch: Changes to the architecture's configuration, such as ``{'vision_cfg': {'layers': 2}}``.
        quick_gelu: OpenAI's activation or the exact GELU; None is what the weights were trained with, as far as they
            say: a tag, a folder's configuration and OpenAI's own archives do. Other files are taken as the
            architecture is, with a warning where it exists with both.
        norm_eps: Epsilon of the image tower's layer norms; None leaves open_clip's (MaskCLIP's code has 1e-6).
        half_rounded: Pass the weights through float16 when they are read, as OpenAI's loader does (see
            ``denseclip.clip.half_rounding``); OVSeg's numbers with a CLIP read from a file were made so.

    Attributes:
        clip: The model with its preprocessing and tokenizer.
        pretrained: As given; set it to None to keep the present weights.
        has_weights: Whether weights were read; False while they are fresh.
    """

    def __init__(
        self,
        model: str = 'ViT-B-16',
        pretrained: Pretrained | None = None,
        *,
        arch: Mapping[str, Any] | None = None,
        quick_gelu: bool | None = None,
        norm_eps: float | None = None,
        half_rounded: bool = False,
    ) -> None:
        self.model = model
        self.half_rounded = half_rounded
        self.pretrained: Pretrained | None = pretrained
        self._source: Pretrained | None = model if model.startswith(FOLDERS) else pretrained
        self.has_weights = model.startswith(FOLDERS)
        if self.has_weights:
            self.clip = load_clip(model, None if pretrained is None else spec_of(pretrained)['source'])
            if half_rounded:
                round_through_half(self.clip.model)
        else:
            self.clip = _fresh(model, pretrained, arch or {}, quick_gelu)
        for part in (self.clip.model, *self.clip.model.children()):
            part.register_load_state_dict_pre_hook(self._note_weights)
        if norm_eps is not None:
            for module in self.clip.model.visual.modules():  # type: ignore[union-attr]
                if isinstance(module, nn.LayerNorm):
                    module.eps = norm_eps

    @property
    def has_source(self) -> bool:
        """Whether the weights can be had again without a checkpoint."""
        return self.pretrained is not None or self.model.startswith(FOLDERS)

    def towers(self, read_out: DenseReadOut) -> tuple[ImageTower, TextTower]:
        """The image tower with a dense read-out, and the text tower; they share the model's parameters."""
        return self.clip.image_tower(read_out), self.clip.text_tower()

    def load(self) -> None:
        """Read the pretrained weights into the towers, if there are any to read.

        Raises:
            FileNotFoundError: Weights that are neither here nor to be had.
            WeightMismatchError: Weights of another model.
        """
        if self.pretrained is None or self.model.startswith(FOLDERS):
            return
        state = clip_state(self.pretrained, self.model)
        load_into(self.clip.model, fit_state(self.clip.model, state), source=str(spec_of(self.pretrained)['source']))
        if self.half_rounded:
            round_through_half(self.clip.model)

    def no_text_tower(self) -> NoTextTower:
        """CLIPN's second text tower, read from the file or folder that CLIP's weights come from.

        Raises:
            ValueError: If that is no file of CLIPN, or CLIP's text tower is of another kind.
        """
        spec = {} if self._source is None else spec_of(self._source)
        state = {}
        if spec and not tag_config(self._source, self.model):
            place = resolve(spec['source'])
            beside, trust = place / NO_TEXT, spec.get('trust', False)
            if place.is_dir() and beside.is_file():
                state = read_checkpoint(beside).state_dict
            else:
                state = no_tower_state(read_checkpoint(weight_file(place), trust=trust).state_dict)
        text = self.clip.text_tower()
        if not state or not isinstance(text, CLIPTextTower):
            raise ValueError(
                f"background='clipn' needs CLIPN's weights, which have a second text tower, and "
                f"{spec.get('source', 'fresh weights')} has none: give CLIPN's file as pretrained= (--pretrained), or "
                "a folder that 'denseclip convert clip' made of it."
            )
        prompts = state.get('prompts')
        tower = NoTextTower(text, num_prompts=0 if prompts is None else len(prompts))
        load_into(tower, state, source=str(spec['source']))
        return tower.eval().requires_grad_(False)

    def _note_weights(self, _: nn.Module, state: Mapping[str, Any], prefix: str, *__: Any) -> None:
        """Whatever way a state dict comes in, the weights are no fresh ones any more."""
        self.has_weights = self.has_weights or any(key.startswith(prefix) for key in state)


def _fresh(model: str, pretrained: Any, arch: Mapping[str, Any], quick_gelu: bool | None) -> LoadedCLIP:
    name = model.replace('/', '-')
    config = copy.deepcopy(open_clip.get_model_config(name))
    if config is None:
        raise UnknownModelError(f"open_clip has no architecture '{model}'; {nearest(name, open_clip.list_models())}")
    settings = settings_of(pretrained, name, quick_gelu=quick_gelu)
    config['quick_gelu'] = settings.quick_gelu
    for key, value in arch.items():
        config[key] = {**config.get(key, {}), **value} if isinstance(value, Mapping) else value
    folder = _folder_of(pretrained)
    clip = build_clip(config, folder).eval()
    spec = PreprocessSpec.of(settings.preprocess, size=getattr(clip.visual, 'image_size', None))
    return LoadedCLIP(clip, spec, name, config, folder)


def _folder_of(pretrained: Pretrained | None) -> Path | None:
    """Folder of a weight file, where the tokenizer and the configuration of its text tower may lie."""
    if pretrained is None:
        return None
    source = here_or_shipped(str(spec_of(pretrained)['source']).removeprefix('local-dir:'))
    if not source.exists():
        return None
    return source if source.is_dir() else source.parent


def read_out_of(read_out: DenseReadOut | Mapping[str, Any] | None, preset_name: str | None) -> DenseReadOut:
    """The read-out that a config means: a preset's, with single settings replaced.

    Args:
        read_out: A read-out, or settings of one; those of ``repair`` and ``middle`` one by one, too.
        preset_name: Name of a preset whose other settings are taken.
    """
    if isinstance(read_out, DenseReadOut):
        return read_out
    base = dict(preset(preset_name).read_out) if preset_name is not None else {}
    given = dict(read_out or {})
    inner = {
        k: {**v, **given[k]} for k, v in base.items() if isinstance(v, Mapping) and isinstance(given.get(k), Mapping)
    }
    return DenseReadOut(**{'pooled': False, **base, **given, **inner})
