"""What every anomaly model answers: a map and a score per picture, for a named object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from denseclip.clip.anomaly_prompts import StatePrompts, prompt_set, state_prompts
from denseclip.clip.anomaly_prompts.learnt import LearntPair
from denseclip.clip.loading import LoadedCLIP
from denseclip.clip.preprocess import PreprocessSpec
from denseclip.clip.text import TextTower
from denseclip.clip.towers import DenseReadOut
from denseclip.core.lazy_weights import LazyWeights, warn_of_other_normalization
from denseclip.weights.positions import exporting

from .answers import MAP_SIZES, AnswersPictures
from .clip_parts import is_fresh, load_parts
from .state_text import StateText, StateTextEncoder

DEFAULT_PROMPTS = 'anovl'
"""Written prompts that say what domains there are where a learnt pair says what is bad."""


class AnomalyModel(LazyWeights, AnswersPictures):
    """Base of the zero-shot anomaly models: one CLIP, one set of state prompts, one answer.

    Pictures are scored one by one, so that a picture's result is the same bit for bit whatever else is in its batch;
    what is batched are the views, tiles and windows of one picture.

    Args:
        clip: A loaded CLIP, or arguments of :func:`denseclip.clip.load_clip` (``model``, ``pretrained``, ...). Fresh
            weights are made when ``pretrained`` is None.
        prompts: A prompt set of the suite, a JSON file or a mapping, see
            :func:`denseclip.clip.anomaly_prompts.prompt_set`; or a ``.safetensors`` file with a learnt pair, see
            :meth:`set_prompts`.
        pair: ``length`` of a fresh :class:`~denseclip.clip.anomaly_prompts.learnt.LearntPair` that is to be learnt in
            place of the written prompts; None: none.
        object_name: What the pictures show, see :meth:`set_object`. None: the data samples say it.
        domain: See :meth:`set_object`.
        defects: See :meth:`set_object`.
        keep_ratio: Whether pictures are resized by their shorter side (:meth:`input_shape`) instead of squashed.
        map_size: ``'original'``: maps have the size of the picture file. ``'input'``: of the network's input, as the
            authors evaluate.
        image_size: Side of the pictures the model is run at, where it differs from the weights' own; positions are
            interpolated.
        text_cache: Folder where text embeddings are kept between runs; None keeps them in memory only.
        read_out: What the image tower returns; each model sets its own.
        data_preprocessor: MMEngine data preprocessor; by default one with the normalisation of the CLIP weights.
        init_cfg: MMEngine initialisation config.
    """

    image_tower: Any
    text_tower: TextTower
    sourced_prefixes = ('image_tower.', 'text_tower.')
    has_source = False  # it is read at once
    weights_named_by: tuple[str, ...] = ('clip',)

    def __init__(
        self,
        clip: Mapping[str, Any] | LoadedCLIP,
        prompts: str | Mapping[str, Any],
        object_name: str | None = None,
        domain: str | None = None,
        defects: str | Sequence[str] | None = None,
        pair: Mapping[str, int] | None = None,
        keep_ratio: bool = False,
        map_size: str = 'original',
        image_size: int | None = None,
        text_cache: str | None = None,
        read_out: DenseReadOut | None = None,
        data_preprocessor: Mapping[str, Any] | nn.Module | None = None,
        init_cfg: Any = None,
    ) -> None:
        if map_size not in MAP_SIZES:
            raise ValueError(f'map_size="{map_size}" is unknown; choose from {", ".join(MAP_SIZES)}.')
        loaded = load_parts(clip)
        spec = loaded.preprocess
        if data_preprocessor is None:
            data_preprocessor = dict(type='ImgDataPreprocessor', bgr_to_rgb=True, **spec.as_255())
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.image_tower = loaded.image_tower(read_out)
        self.text_tower = loaded.text_tower()
        self.requires_grad_(False)
        self._has_weights = not is_fresh(clip)
        self.watch_loading()
        self.preprocess: PreprocessSpec = spec
        self.image_size = (image_size, image_size) if image_size else spec.size
        self.keep_ratio, self.map_size = keep_ratio, map_size
        self.pair: LearntPair | None = None
        self.texts = StateTextEncoder(text_cache)
        self.set_prompts(prompts)
        if pair is not None:
            self._take_pair(LearntPair(self.text_tower.width, **pair))
        self.object_name, self.domain, self.defects = object_name, domain, defects
        self.prompts_of(object_name or 'object')  # a wrong domain or defect word is told at once
        warn_of_other_normalization(self, self.preprocess)

    # --- prompts ------------------------------------------------------------------------------------------------

    def set_prompts(self, prompts: str | Path | Mapping[str, Any]) -> None:
        """Choose what says good and bad.

        Args:
            prompts: Written prompts, see the class; or a ``.safetensors`` file with a learnt pair, which stands before
                the object's name in place of sentences. Domain and defect words then play no part.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it cannot be used, or was learnt with another CLIP.
        """
        if isinstance(prompts, Mapping) or Path(prompts).suffix != '.safetensors':
            prompt_set(prompts)
            self.prompts, self.pair = prompts, None
            return
        self._take_pair(LearntPair.read(prompts).requires_grad_(False))
        self.prompts = DEFAULT_PROMPTS

    def _take_pair(self, pair: LearntPair) -> None:
        pair.check(self.text_tower)
        self.pair = pair.to(next(self.text_tower.parameters()).device)

    # --- what is looked at --------------------------------------------------------------------------------------

    def set_object(
        self, name: str, domain: str | None = None, defects: str | Sequence[str] | None = None
    ) -> StatePrompts:
        """Say what the pictures show.

        Args:
            name: The product in words, such as ``'metal nut'``.
            domain: Kind of pictures, see :func:`denseclip.clip.anomaly_prompts.state_prompts`; None: by the name.
            defects: Own defect words, ``'scratch; dent'`` or a list, besides the general ones.

        Returns:
            The prompts that follow.

        Raises:
            ValueError: If the domain is unknown or a word is empty.
        """
        prompts = state_prompts(name, self.prompts, domain=domain, defects=defects)
        self.object_name, self.domain, self.defects = name, domain, defects
        return prompts

    def prompts_of(self, name: str) -> StatePrompts:
        """Prompts of an object with the present domain and defect words."""
        return state_prompts(name, self.prompts, domain=self.domain, defects=self.defects)

    def text_of(self, name: str) -> StateText:
        """Embedded prompts of an object in float32; those that are written are made once."""
        if self.pair is not None:
            states = self.pair(self.text_tower, name).float()
            return StateText(states, states)
        text = self.texts(self.text_tower, self.prompts_of(name))
        return text.to(next(self.text_tower.parameters()).device, torch.float32)

    def input_shape(self, height: int, width: int) -> tuple[int, int]:
        """Size (height, width) that a picture of this size is to be resized to for this model.

        The model's size, or with ``keep_ratio`` its shorter side, the longer one rounded down (torchvision's rule).
        """
        if not self.keep_ratio:
            return self.image_size
        side, short = min(self.image_size), min(height, width)
        return side * height // short, side * width // short

    def train(self, mode: bool = True) -> AnomalyModel:
        """Set the mode of everything but the frozen CLIP, which stays as in testing."""
        super().train(mode)
        self.image_tower.eval()
        self.text_tower.eval()
        return self


def in_parts(batch: Tensor, most: int) -> Sequence[Tensor]:
    """A batch in parts of at most so many; a graph takes all of it at once, since it has a fixed number of steps."""
    return [batch] if exporting() else batch.split(most)
