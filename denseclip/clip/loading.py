"""One call that loads any CLIP: open_clip names and tags, files, folders, the hub, OpenAI's archives."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip import pretrained as tags
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor, nn

from denseclip.weights import Checkpoint, Uninitialised, WeightMismatchError, load_into, read_checkpoint
from denseclip.weights.convert.clip_family import open_clip_names

from .architecture import architectures_of, infer_config
from .deep_prompts import CoupledPrompts, read_deep_prompts
from .errors import UnknownModelError
from .file_settings import FileSettings, file_settings
from .finding import Found, find
from .folders import has_tokenizer
from .hf_text import encoder_folder, text_width
from .preprocess import PreprocessSpec
from .slip import LOOKS, QUICK_GELU, SMALLEST_TRUNK, resize_trunk, slip_config
from .text import (
    CLIPTextTower,
    FullLengthTextTower,
    MappedText,
    MappedTextTower,
    MissingTokenizer,
    TextTower,
    default_tokenizer,
    hub_tokenizer,
    wrap_tokenizer,
)
from .text.mapped import mapping_of
from .towers import DenseReadOut, ImageTower, build_image_tower

__all__ = ['LoadedCLIP', 'UnknownModelError', 'build_clip', 'fit_state', 'load_clip', 'read_clip']

PRECISIONS = {'fp32': torch.float32, 'fp16': torch.float16, 'bf16': torch.bfloat16}
LAYOUT = 'clip_layout'
"""Key of a checkpoint's ``meta``: the layout that :func:`read_clip` found."""
_NUMBERS = ('input_resolution', 'context_length', 'vocab_size')


@dataclass
class LoadedCLIP:
    """A CLIP model with all that belongs to its weights.

    Attributes:
        model: open_clip's module.
        preprocess: How pictures must look to it.
        name: What was loaded, for messages and logs.
        config: open_clip configuration it was built from.
        folder: Where its files are, if they came from a folder; its tokenizer is looked for there first.
        deep_prompts: Learned tokens of both towers, which they are built with.
        no_text: Tensors of CLIPN's second text tower, for :class:`.text.NoTextTower`; empty: there is none.
    """

    model: nn.Module
    preprocess: PreprocessSpec
    name: str
    config: dict[str, Any]
    folder: Path | None = None
    deep_prompts: CoupledPrompts | None = None
    no_text: Mapping[str, Tensor] = field(default_factory=dict)

    @cached_property
    def tokenizer(self) -> Any:
        """The model's tokenizer behind the suite's interface; made on first use, since some come from the hub.

        Raises:
            FileNotFoundError: If it is not on this machine, and cannot be fetched.
        """
        text = self.config['text_cfg']
        if text.get('hf_tokenizer_name'):
            own = self.folder if self.folder is not None and has_tokenizer(self.folder) else None
            return hub_tokenizer(text, own or text['hf_tokenizer_name'], beside=self.folder)
        options = dict(text.get('tokenizer_kwargs') or {})
        if 'bpe_path' in options and self.folder is not None:  # merges that lie beside the weights
            options['bpe_path'] = str(self.folder / Path(options['bpe_path']).name)
        return wrap_tokenizer(SimpleTokenizer(**options)) if options else default_tokenizer()

    def with_prompts(self, **sizes: int) -> CoupledPrompts:
        """Deep prompts that the towers are built with from now on: those that it has, else fresh ones.

        Args:
            **sizes: ``length`` and ``depth`` of fresh ones.

        Raises:
            ValueError: If the text tower takes none.
        """
        if self.deep_prompts is None:
            width = getattr(getattr(self.model.visual, 'conv1', None), 'out_channels', 0)
            text = self.text_tower()
            if not isinstance(text, CLIPTextTower):
                raise ValueError(f'coupled prompts need a causal text tower of CLIP, not {type(text).__name__}')
            self.deep_prompts = CoupledPrompts(text.width, width, **sizes)
        return self.deep_prompts

    def image_tower(self, read_out: DenseReadOut | None = None, **options: Any) -> ImageTower:
        """The image half with a dense read-out; shares the model's parameters."""
        visual: Any = self.model.visual
        tower = build_image_tower(visual, read_out, self.preprocess, **options)
        if self.deep_prompts is not None:
            tower.take_prompts(self.deep_prompts)
        return tower

    def text_tower(self) -> TextTower:
        """The text half; shares the model's parameters."""
        text: Any = getattr(self.model, 'text', self.model)
        try:
            tokenizer = self.tokenizer
        except FileNotFoundError as error:  # said when a text is to be encoded
            tokenizer = MissingTokenizer(str(error))
        if isinstance(text, MappedText):
            if self.deep_prompts is not None:
                raise ValueError(f"'{self.name}' maps its text into another space: it takes no deep prompts.")
            return MappedTextTower(CLIPTextTower(text.tower, tokenizer), text.mapping)
        if CLIPTextTower.supports(text):
            tower = CLIPTextTower(text, tokenizer)
            if self.deep_prompts is not None:
                tower.take_prompts(self.deep_prompts)
            return tower
        if self.deep_prompts is not None:
            raise ValueError(f"'{self.name}' has a text tower that takes no deep prompts: it is not causal.")
        length = int(self.config['text_cfg'].get('context_length', 77))
        width = getattr(text, 'width', None) or text_width(text) or self.config['text_cfg']['width']
        return FullLengthTextTower(
            text, tokenizer, context_length=length, embed_dim=self.config['embed_dim'], width=int(width)
        )


def load_clip(
    model: str,
    pretrained: str | Path | None = None,
    *,
    cache_dir: str | Path | None = None,
    precision: str = 'fp32',
    trust: bool = False,
    tag: str | None = None,
    base: str | Path | None = None,
) -> LoadedCLIP:
    """Load a CLIP model.

    Args:
        model: An open_clip architecture (``'ViT-B-16'``), ``'hf-hub:org/name'``, ``'local-dir:FOLDER'`` (of open_clip
            or of transformers' CLIP), or a weight file whose architecture is told from its tensors.
        pretrained: For an architecture: one of its tags (``'openai'``, ``'laion2b_s34b_b88k'`` ...) or a weight file
            (safetensors, PyTorch, OpenAI's TorchScript archive). None leaves random weights, with a warning.
        cache_dir: Where downloads are kept; default is open_clip's.
        precision: ``'fp32'``, ``'fp16'`` or ``'bf16'``.
        trust: See :func:`denseclip.weights.read_state_dict`.
        tag: The tag that a weight file is of, for its activation and normalisation, which its tensors do not show;
            see :func:`denseclip.clip.file_settings.file_settings`.
        base: Weights of the whole architecture, a tag or a file, for a file that holds a part of it: an image tower
            alone, or MaPLe's towers without word vectors. The file is laid over them, and what it replaces is said.

    Returns:
        The model in evaluation mode with its preprocessing and tokenizer.

    Raises:
        UnknownModelError: Unknown architecture or tag; the nearest is named.
        FileNotFoundError: Weights that are neither here nor to be had.
        WeightMismatchError: Weights of another model.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision='{precision}' is unknown; choose from {', '.join(PRECISIONS)}.")
    found = find(model, pretrained, cache_dir)
    checkpoint = read_clip(found.file, trust=trust) if found.file is not None else None
    settings = _settings(found, checkpoint, tag)
    config = _final_config(found, checkpoint, settings)
    # Drawing weights that the file replaces takes a second for every 150 M of them.
    with nullcontext() if checkpoint is None else Uninitialised():
        clip = build_clip(config, found.folder)
    if checkpoint is not None:
        state = fit_state(clip, checkpoint.state_dict)
        if base is not None:
            state = laid_over(state, base_state(found.model, base, cache_dir, trust), str(found.file))
        load_into(clip, state, source=found.file)
    else:
        warnings.warn(f"'{found.name}' has random weights: no pretrained= was given.", stacklevel=2)
    clip = clip.to(PRECISIONS[precision]).eval()
    spec = PreprocessSpec.of(settings.preprocess, size=getattr(clip.visual, 'image_size', None))
    prompts = None if found.model or found.folder is None else read_deep_prompts(found.folder)
    if prompts is not None:
        prompts = prompts.to(PRECISIONS[precision]).eval()
    return LoadedCLIP(clip, spec, found.name, config, found.folder, prompts)


def read_clip(path: Path, *, trust: bool = False) -> Checkpoint:
    """Read the weights of a CLIP model under open_clip's names, whatever layout its authors chose.

    Args:
        path: See :func:`denseclip.weights.read_checkpoint`.
        trust: See there.

    Returns:
        The tensors; ``meta[LAYOUT]`` says whose names they had.
    """
    checkpoint = read_checkpoint(path, trust=trust)
    named = open_clip_names(checkpoint.state_dict)
    checkpoint.state_dict, checkpoint.meta[LAYOUT] = named.state, named.layout
    if named.left_out:
        warnings.warn(f"of '{path}' is left out what belongs to no CLIP: {', '.join(named.left_out)}.", stacklevel=2)
    return checkpoint


def base_state(
    model: str, base: str | Path, cache_dir: str | Path | None = None, trust: bool = False
) -> dict[str, Tensor]:
    """Tensors of a whole CLIP that another file is laid over.

    Args:
        model: open_clip architecture.
        base: One of its tags, or a weight file.
        cache_dir: See :func:`load_clip`.
        trust: See :func:`load_clip`.

    Raises:
        ValueError: If no architecture is named.
    """
    if not model:
        raise ValueError("base= needs an architecture: load_clip('ViT-L-14', FILE, base='openai').")
    return load_clip(model, base, cache_dir=cache_dir, trust=trust).model.state_dict()


def laid_over(state: Mapping[str, Tensor], base: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """A part of a CLIP on top of a whole one; what is replaced and what stays is said as a warning.

    Args:
        state: Name to tensor of the part.
        base: Name to tensor of the whole.
        source: Of the part, for messages.

    Raises:
        WeightMismatchError: If the part holds what the whole does not.
    """
    strange = [name for name in state if name not in base]
    if strange:
        raise WeightMismatchError(
            f"'{source}' holds {len(strange)} tensors that its base does not have ({', '.join(strange[:5])}"
            f'{" ..." if len(strange) > 5 else ""}): name the architecture that it is of.'
        )
    stay = [name for name in base if name not in state]
    parts = {where: sorted({n.split('.')[0] for n in names}) for where, names in (('new', state), ('old', stay))}
    warnings.warn(
        f"'{source}' gives {len(state)} of {len(base)} tensors ({', '.join(parts['new'])}); the base gives "
        f'{len(stay)} ({", ".join(parts["old"]) or "none"}).',
        stacklevel=3,
    )
    return {**base, **state}


def build_clip(config: Mapping[str, Any], folder: Path | None = None) -> nn.Module:
    """An open_clip model with fresh weights from its configuration; nothing is downloaded for its parts.

    Args:
        config: ``embed_dim``, ``vision_cfg``, ``text_cfg`` ...
        folder: Folder of the model, where the configuration of a text tower made of transformers may lie.

    Raises:
        FileNotFoundError: If that configuration is neither on this machine nor to be had.
    """
    name = config['text_cfg'].get('hf_model_name')
    if name:
        with encoder_folder(name, folder) as place:
            return _build({**config, 'text_cfg': {**config['text_cfg'], 'hf_model_name': place}})
    return _build(config)


def _build(config: Mapping[str, Any]) -> nn.Module:
    parts: dict[str, Any] = copy.deepcopy(dict(config))
    custom = parts.pop('custom_text', False) or 'hf_model_name' in parts['text_cfg']
    if 'timm_model_name' in parts['vision_cfg']:
        parts['vision_cfg']['timm_model_pretrained'] = False
    if 'hf_model_name' in parts['text_cfg']:
        parts['text_cfg']['hf_model_pretrained'] = False
    trunk, named = parts['vision_cfg'].pop('timm_kwargs', None), dict(parts['vision_cfg'])
    if trunk is not None:
        parts['vision_cfg']['timm_model_name'] = SMALLEST_TRUNK  # stands there until the real one is made
    mapping, head = parts.pop('text_mapping', None), parts['vision_cfg'].pop('head_blocks', None)
    if mapping is not None:  # what it maps to is the joint space, what it maps from the size of open_clip's module
        custom, parts['embed_dim'] = True, int(mapping['widths'][0])
    kind = open_clip.CoCa if 'multimodal_cfg' in parts else open_clip.CustomTextCLIP if custom else open_clip.CLIP
    clip = kind(**parts)
    if trunk is not None:
        resize_trunk(clip, named, trunk, parts['embed_dim'])
    if head is not None:
        from .dinotxt import add_head  # which builds on this module

        visual: Any = clip.visual
        add_head(visual.trunk, head)
    if mapping is not None:
        clip.text = MappedText(clip.text, mapping_of(mapping))
    return clip


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


def _settings(found: Found, checkpoint: Checkpoint | None, tag: str | None) -> FileSettings:
    if found.settings is not None:
        return found.settings
    if checkpoint is not None and checkpoint.meta.get(LAYOUT) == 'slip' and tag is None:
        return FileSettings(QUICK_GELU, LOOKS)
    if found.config is not None:
        quick_gelu = bool(found.config.get('quick_gelu', False))
        return file_settings(found.file, [found.model], tag=tag, default=quick_gelu)
    assert checkpoint is not None
    try:
        names = [name for name in architectures_of(checkpoint.state_dict) if not name.endswith('-quickgelu')]
    except KeyError:  # said by infer_config
        names = []
    # OpenAI's, where OpenAI made one of this size or nobody that open_clip knows of has; else open_clip's own.
    openai = any('openai' in tags.list_pretrained_tags_by_model(name) for name in names)
    return file_settings(found.file, names, tag=tag, default=openai or not names)


def _final_config(found: Found, checkpoint: Checkpoint | None, settings: FileSettings) -> dict[str, Any]:
    if checkpoint is not None and checkpoint.meta.get(LAYOUT) == 'slip':
        if found.config is not None and 'timm_kwargs' not in found.config['vision_cfg']:
            raise WeightMismatchError(
                f"'{found.file}' is of SLIP's family, whose image towers are in no architecture of open_clip: give the "
                "file itself as the model, load_clip(FILE), or a folder made by 'denseclip convert clip FILE FOLDER'."
            )
        return found.config or slip_config(checkpoint.state_dict)
    if found.config is not None:
        return {**copy.deepcopy(found.config), 'quick_gelu': settings.quick_gelu}
    assert checkpoint is not None
    archive = checkpoint.format == 'torchscript'
    return infer_config(checkpoint.state_dict, quick_gelu=settings.quick_gelu, openai_archive=archive)
