"""One call that loads any CLIP: open_clip names and tags, files, folders, the hub, OpenAI's archives."""

from __future__ import annotations

import copy
import difflib
import json
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip import pretrained as tags
from torch import Tensor, nn

from denseclip.weights import Checkpoint, WeightFileError, load_into, read_checkpoint, resolve, weight_file
from denseclip.weights.source import SCHEMES

from .architecture import infer_config
from .preprocess import PreprocessSpec
from .text import CLIPTextTower, FullLengthTextTower, TextTower, wrap_tokenizer
from .towers import DenseReadOut, ImageTower, build_image_tower

PRECISIONS = {'fp32': torch.float32, 'fp16': torch.float16, 'bf16': torch.bfloat16}
_NUMBERS = ('input_resolution', 'context_length', 'vocab_size')


class UnknownModelError(ValueError):
    """No architecture or weight tag of this name."""


@dataclass
class LoadedCLIP:
    """A CLIP model with all that belongs to its weights.

    Attributes:
        model: open_clip's module.
        preprocess: How pictures must look to it.
        name: What was loaded, for messages and logs.
        config: open_clip configuration it was built from.
        tokenizer_source: What open_clip's tokenizer factory is asked for.
    """

    model: nn.Module
    preprocess: PreprocessSpec
    name: str
    config: dict[str, Any]
    tokenizer_source: str = ''

    @cached_property
    def tokenizer(self) -> Any:
        """The model's tokenizer behind the suite's interface; made on first use, since some come from the hub."""
        return wrap_tokenizer(open_clip.get_tokenizer(self.tokenizer_source, **self._own_merges()))

    def _own_merges(self) -> dict[str, str]:
        """Path of the byte-pair merges that the configuration of a folder names, which lie beside its weights."""
        named = (self.config['text_cfg'].get('tokenizer_kwargs') or {}).get('bpe_path')
        scheme, _, folder = self.tokenizer_source.partition(':')
        return {'bpe_path': str(Path(folder) / Path(named).name)} if named and scheme == 'local-dir' else {}

    def image_tower(self, read_out: DenseReadOut | None = None, **options: Any) -> ImageTower:
        """The image half with a dense read-out; shares the model's parameters."""
        visual: Any = self.model.visual
        return build_image_tower(visual, read_out, self.preprocess, **options)

    def text_tower(self) -> TextTower:
        """The text half; shares the model's parameters."""
        text: Any = getattr(self.model, 'text', self.model)
        if CLIPTextTower.supports(text):
            return CLIPTextTower(text, self.tokenizer)
        length = int(self.config['text_cfg'].get('context_length', 77))
        width = getattr(text, 'width', None) or self.config['text_cfg'].get('width', self.config['embed_dim'])
        return FullLengthTextTower(
            text, self.tokenizer, context_length=length, embed_dim=self.config['embed_dim'], width=int(width)
        )


@dataclass
class _Found:
    """Where a model's parts come from, before anything is built."""

    name: str
    config: dict[str, Any] | None = None
    preprocess: Mapping[str, Any] = field(default_factory=dict)
    file: Path | None = None
    tokenizer_source: str = ''


def load_clip(
    model: str,
    pretrained: str | Path | None = None,
    *,
    cache_dir: str | Path | None = None,
    precision: str = 'fp32',
    trust: bool = False,
) -> LoadedCLIP:
    """Load a CLIP model.

    Args:
        model: An open_clip architecture (``'ViT-B-16'``), ``'hf-hub:org/name'``, ``'local-dir:FOLDER'``, or a weight
            file in OpenAI's layout whose architecture is told from its tensors (its activation is taken to be
            QuickGELU, as in all of OpenAI's models).
        pretrained: For an architecture: one of its tags (``'openai'``, ``'laion2b_s34b_b88k'`` ...) or a weight file
            (safetensors, PyTorch, OpenAI's TorchScript archive). None leaves random weights, with a warning. With a
            file of OpenAI's weights that is no archive, name the ``-quickgelu`` architecture.
        cache_dir: Where downloads are kept; default is open_clip's.
        precision: ``'fp32'``, ``'fp16'`` or ``'bf16'``.
        trust: See :func:`denseclip.weights.read_state_dict`.

    Returns:
        The model in evaluation mode with its preprocessing and tokenizer.

    Raises:
        UnknownModelError: Unknown architecture or tag; the nearest is named.
        FileNotFoundError: Weights that are neither here nor to be had.
        WeightMismatchError: Weights of another model.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision='{precision}' is unknown; choose from {', '.join(PRECISIONS)}.")
    found = _find(model, pretrained, cache_dir)
    checkpoint = read_checkpoint(found.file, trust=trust) if found.file is not None else None
    config = _final_config(found, checkpoint)
    clip = build_clip(config)
    if checkpoint is not None:
        load_into(clip, fit_state(clip, checkpoint.state_dict), source=found.file)
    else:
        warnings.warn(f"'{found.name}' has random weights: no pretrained= was given.", stacklevel=2)
    clip = clip.to(PRECISIONS[precision]).eval()
    spec = PreprocessSpec.of(found.preprocess, size=getattr(clip.visual, 'image_size', None))
    return LoadedCLIP(clip, spec, found.name, config, found.tokenizer_source)


def build_clip(config: Mapping[str, Any]) -> nn.Module:
    """An open_clip model with fresh weights from its configuration; nothing is downloaded for its parts."""
    parts: dict[str, Any] = copy.deepcopy(dict(config))
    custom = parts.pop('custom_text', False) or 'hf_model_name' in parts['text_cfg']
    if 'timm_model_name' in parts['vision_cfg']:
        parts['vision_cfg']['timm_model_pretrained'] = False
    if 'hf_model_name' in parts['text_cfg']:
        parts['text_cfg']['hf_model_pretrained'] = False
    kind = open_clip.CoCa if 'multimodal_cfg' in parts else open_clip.CustomTextCLIP if custom else open_clip.CLIP
    return kind(**parts)


def fit_state(clip: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A file's tensors under the names and with the scalars' shapes that the model has.

    Covers OpenAI's extra integers, third-party layouts that open_clip knows (MobileCLIP), plain text names for models
    with a separate text module, and scalars stored as vectors or not at all.
    """
    fitted = open_clip.convert.convert_state_dict(clip, {k: v for k, v in state.items() if k not in _NUMBERS})
    own = clip.state_dict()
    if 'positional_embedding' in fitted and 'positional_embedding' not in own:
        fitted = open_clip.model.convert_to_custom_text_state_dict(fitted)
    for key in ('logit_scale', 'logit_bias'):
        if key in own and key in fitted and own[key].numel() == fitted[key].numel():
            fitted[key] = fitted[key].reshape(own[key].shape)
    if 'logit_bias' in own:
        fitted.setdefault('logit_bias', torch.zeros_like(own['logit_bias']))
    position_ids = 'text.transformer.embeddings.position_ids'
    if position_ids not in own:
        fitted.pop(position_ids, None)
    return dict(fitted)


def _final_config(found: _Found, checkpoint: Checkpoint | None) -> dict[str, Any]:
    config = copy.deepcopy(found.config)
    if config is None:
        assert checkpoint is not None
        # A file of PyTorch's own format tells nothing about the activation; OpenAI's archives always have QuickGELU.
        config = infer_config(checkpoint.state_dict, quick_gelu=True)
    if checkpoint is not None and checkpoint.format == 'torchscript':
        config['quick_gelu'] = True
    return config


def _find(model: str, pretrained: str | Path | None, cache_dir: str | Path | None) -> _Found:
    if model.startswith(('hf-hub:', 'local-dir:')):
        if pretrained is not None and str(pretrained) != model:
            raise ValueError(
                f"'{model}' brings its own weights; leave pretrained='{pretrained}' out, or name an architecture "
                'of open_clip instead of the folder.'
            )
        return _find_folder(model, cache_dir)
    name = model.replace('/', '-')
    config = open_clip.get_model_config(name)
    if config is None:
        if model.startswith('package:') or Path(model).expanduser().exists():
            return _Found(model, file=weight_file(resolve(model)))
        raise UnknownModelError(
            f"open_clip has no architecture '{model}', nor is it a file; {_nearest(name, open_clip.list_models())}"
        )
    found = _Found(name, config, tokenizer_source=name)
    if pretrained is None:
        return found
    found.name = f'{name}/{pretrained}'
    tag = tags.get_pretrained_cfg(name, str(pretrained))
    if tag:
        found.preprocess, found.file = tag, _download(name, str(pretrained), tag, cache_dir)
        # Weights know their activation; the same architecture was trained with both.
        config['quick_gelu'] = tag.get('quick_gelu', config.get('quick_gelu', False))
    else:
        found.file = _given_file(name, str(pretrained), cache_dir)
    return found


def _find_folder(model: str, cache_dir: str | Path | None) -> _Found:
    folder = resolve(model, cache_dir=cache_dir)
    file = folder / 'open_clip_config.json'
    if not file.is_file():
        raise FileNotFoundError(f"'{model}' has no open_clip_config.json ({folder}), so its architecture is unknown.")
    try:
        content = json.loads(file.read_text(encoding='utf-8'))
        config = content['model_cfg']
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise WeightFileError(f"'{file}' is no open_clip configuration ({error!r}); it needs a 'model_cfg'.") from error
    return _Found(model, config, content.get('preprocess_cfg', {}), weight_file(folder), f'local-dir:{folder}')


def _given_file(name: str, pretrained: str, cache_dir: str | Path | None) -> Path:
    path_like = pretrained.startswith(SCHEMES) or Path(pretrained).suffix or '/' in pretrained
    if path_like or Path(pretrained).exists():
        return weight_file(resolve(pretrained, cache_dir=cache_dir))
    known = tags.list_pretrained_tags_by_model(name)
    raise UnknownModelError(
        f"open_clip has no weights '{pretrained}' for {name}, nor is it a file; {_nearest(pretrained, known)}"
    )


def _download(name: str, tag: str, entry: dict[str, Any], cache_dir: str | Path | None) -> Path:
    try:
        folder = None if cache_dir is None else str(cache_dir)
        return Path(tags.download_pretrained(entry, prefer_hf_hub=_hub_has_tag(tag, entry), cache_dir=folder))
    except Exception as error:
        where = entry.get('hf_hub') or entry.get('url')
        raise FileNotFoundError(
            f"the weights '{tag}' of {name} are not on this machine and could not be fetched from {where} ({error}). "
            f"Without a network, pass a file: load_clip('{name}', 'weights.safetensors')."
        ) from error


def _hub_has_tag(tag: str, entry: Mapping[str, Any]) -> bool:
    """Whether the hub's folder is of the tag's epoch; else the release file is taken.

    open_clip 3.3 lists the folder of epoch 31 under ``laion400m_e32`` of ViT-B-16-plus-240, AnoVL's tower.
    """
    wanted = re.search(r'_e\d+$', tag)
    hub = re.search(r'_e\d+', entry.get('hf_hub') or '')
    return not entry.get('url') or wanted is None or hub is None or wanted.group() == hub.group()


def _nearest(name: str, known: list[str]) -> str:
    by_lower = {k.lower(): k for k in known}
    near = difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.5)
    if near:
        return 'nearest: ' + ', '.join(by_lower[n] for n in near) + '.'
    return 'known: ' + ', '.join(known[:12]) + (' ...' if len(known) > 12 else '.')
