"""Any timm network as a multi-scale trunk (ImageNet trunks of DenseCLIP's any-backbone variant)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.dist import is_distributed
from mmengine.registry import MODELS
from torch import Tensor, nn

from denseclip.clip.preprocess import PreprocessSpec
from denseclip.core.depthwise import use_own_depthwise
from denseclip.models.clip_weights import Pretrained
from denseclip.models.folded import Folding, FrozenStages
from denseclip.weights import load_into, read_state_dict, resolve, weight_file
from denseclip.weights.convert import convert

from .base import FreezesStages, ImageBackbone, freeze
from .timm_sizes import create_flexible, pad_to_patches, size_error


@MODELS.register_module()
class TimmTrunk(FreezesStages, ImageBackbone):
    """Stages of a timm model, under timm's own parameter names.

    Vision transformers and Swin are made so that they take pictures of any size, which timm does on request only.

    Args:
        model_name: timm architecture, such as ``'tf_efficientnet_lite0'``, ``'resnet50'``, ``'convnext_tiny'``.
        out_indices: which entries of timm's ``feature_info`` to return, finest first.
        pretrained: ``dict(source=..., converter=..., trust=False)``: where the weights are and, if they do not carry
            timm's names, the name of the converter; or the source alone.
        frozen_stages: freeze everything up to and including this entry of ``feature_info`` (0 is the first, usually
            stride 2); -1 freezes nothing.
        norm_eval: keep all BatchNorm layers in evaluation mode while training.
        channels_last: run in channels-last memory format (about 1.5 times faster for convolutions on CPU).
        normalization: ``(mean, std)`` in 0..255 that the weights expect; default is what timm says of the architecture.
        model_kwargs: further arguments of ``timm.create_model``, such as ``bn_eps`` or ``drop_path_rate``.
    """

    trunk: Any
    sourced_prefixes = ('trunk.',)

    def __init__(
        self,
        model_name: str,
        out_indices: Sequence[int] = (1, 2, 3, 4),
        pretrained: Pretrained | None = None,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        channels_last: bool = False,
        normalization: tuple[Sequence[float], Sequence[float]] | None = None,
        **model_kwargs: Any,
    ) -> None:
        super().__init__(pretrained)
        self.model_name = model_name
        self.model_kwargs = dict(model_kwargs)
        self.out_indices = list(out_indices)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.channels_last = channels_last
        self.trunk = self._create(num_classes=0)
        infos = list(self.trunk.feature_info)
        self._check_indices(infos)
        self.out_channels = [infos[i]['num_chs'] for i in self.out_indices]
        self.strides = [infos[i]['reduction'] for i in self.out_indices]
        self._stage_names = [info['module'] for info in infos]
        self.trunk.prune_intermediate_layers(self.out_indices, prune_norm=True, prune_head=True)
        use_own_depthwise(self.trunk)
        self.preprocess = self._preprocess(normalization)
        if channels_last:
            self.trunk.to(memory_format=torch.channels_last)
        self._freeze_stages()
        self._folding, self._frozen = Folding(self.trunk), FrozenStages()

    def _create(self, **kwargs: Any) -> nn.Module:
        model = create_flexible(self.model_name, **{**self.model_kwargs, **kwargs})
        if not hasattr(model, 'forward_intermediates'):
            raise ValueError(
                f'timm model "{self.model_name}" cannot return intermediate features; choose another trunk.'
            )
        return model

    def _check_indices(self, infos: Sequence[Mapping[str, Any]]) -> None:
        if not all(0 <= i < len(infos) for i in self.out_indices) or self.frozen_stages >= len(infos):
            raise ValueError(
                f'TimmTrunk "{self.model_name}" has feature levels 0..{len(infos) - 1}, asked for '
                f'out_indices={self.out_indices}, frozen_stages={self.frozen_stages}.'
            )

    def _preprocess(self, normalization: tuple[Sequence[float], Sequence[float]] | None) -> PreprocessSpec | None:
        if normalization is not None:
            mean, std = (tuple(v / 255 for v in values) for values in normalization)
            return PreprocessSpec(mean=mean, std=std)
        cfg = self.trunk.pretrained_cfg or {}
        return (
            PreprocessSpec.of({'mean': cfg['mean'], 'std': cfg['std']}) if cfg.get('mean') and cfg.get('std') else None
        )

    def load_pretrained(self, pretrained: Pretrained) -> None:
        """Load weights of the complete network, strictly; the parts that the trunk does not use are dropped."""
        spec: dict[str, Any] = {'source': pretrained} if isinstance(pretrained, str) else dict(pretrained)
        source = spec['source']
        state = read_state_dict(weight_file(resolve(source)), trust=spec.get('trust', False))
        if spec.get('converter'):
            state = convert(state, spec['converter'])
        own = self.trunk.state_dict()
        if any(key in state and state[key].shape != value.shape for key, value in own.items()):
            state = self._resized(state, source)
        with torch.device('meta'):
            complete = self._create().state_dict()
        unused = [key for key in complete if key not in own]
        load_into(self.trunk, state, source=source, ignore=unused)

    def _resized(self, state: dict[str, Tensor], source: str) -> dict[str, Tensor]:
        """Weights of the architecture's own picture size, their positions fitted to ``img_size`` by timm."""
        options = dict(self.model_kwargs)
        size = options.pop('img_size', None)
        if size is None or not hasattr(self.trunk, 'set_input_size'):
            return state  # loading will name what does not fit
        native: Any = create_flexible(self.model_name, **options)
        load_into(native, state, source=source)
        native.set_input_size(size)
        return dict(native.state_dict())

    def _freeze_stages(self) -> None:
        """Freeze every module up to and including ``frozen_stages``, in the order of the network."""
        if self.frozen_stages < 0:
            return
        last = self._stage_names[self.frozen_stages]
        for name, module in self.trunk.named_modules():
            if name and not last.startswith(f'{name}.'):
                freeze(module)
            if name == last:
                return

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the features of ``out_indices``, each (N, C_i, H/s_i, W/s_i).

        Raises:
            ValueError: If the trunk cannot read pictures of this size; it names the cure.
        """
        if self.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        trunk = self._folded_where_fixed(x) if self._folding.possible else self.trunk
        padded = pad_to_patches(trunk, x)
        try:
            features = trunk.forward_intermediates(
                padded, indices=self.out_indices, intermediates_only=True, stop_early=True
            )
        except torch.OutOfMemoryError:
            raise
        except (AssertionError, RuntimeError, IndexError) as error:
            problem = size_error(self.trunk, self.model_name, self.model_kwargs, x, max(self.strides))
            if problem is None:
                raise
            raise problem from error
        return tuple(features)

    def _folded_where_fixed(self, x: Tensor) -> Any:
        """The trunk without the batch norms whose statistics stay; itself where all of them are measured."""
        trunk = self._folding.of(self.trunk, x)
        # measured on CPUs alone; processes that share a training may hold slices of the weights
        plain = type(x) is Tensor and x.device.type == 'cpu' and not x.requires_grad
        fixed = self.frozen_stages >= 0 and plain and not torch.compiler.is_compiling() and not is_distributed()
        return self._frozen.folded_in(trunk) if fixed and trunk is self.trunk else trunk

    @property
    def rounds_once(self) -> bool:
        """Whether filters are rounded when norms have been folded into them; rounded before, too, they lose twice."""
        return self._folding.possible

    def _apply(self, *args: Any, **kwargs: Any) -> Any:
        self._folding.forget()
        self._frozen = FrozenStages()
        return super()._apply(*args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_frozen': FrozenStages()}
