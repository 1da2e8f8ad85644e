"""What an image tower answers, and the data that describes how it is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor, nn

from denseclip.weights.positions import POSITION_MODES

from ..alignment import Alignment
from ..attention import Guide, attention_terms
from ..branches import Branches
from ..deep_prompts import CoupledPrompts
from ..errors import NoReadOutError
from ..mask_prompts import MaskPrompts
from ..middle_layers import MiddleLayers, MiddleNotes
from ..preprocess import PreprocessSpec
from ..token_repair import TokenRepair
from .rotary import ROTARY_MODES


@dataclass(frozen=True)
class DenseReadOut:
    """How dense features are read out of a tower. Plain data: most training-free methods are new values.

    Attributes:
        out_indices: Which stages to return: ResNet and ConvNeXt stages 0..3, or 0-based transformer blocks. None
            means all four stages, respectively no blocks.
        dense: Compute the pixel embeddings (and everything behind the last stage asked for).
        pooled: Compute the image embedding.
        attention: Of the last ``layers`` blocks or of the attention pool: ``'qk'`` as trained (DenseCLIP), ``'value'``
            every token its own value (MaskCLIP); for transformers also sums such as ``'qq+kk'`` (SCLIP), ``'prior'``,
            ``'aligned'`` (PEARL), ``'alike'`` (SC-CLIP, needs ``middle``) and ``'external'`` (ProxyCLIP), see
            :func:`denseclip.clip.attention.attention_terms`.
        residual: Keep the residual connection of those blocks.
        ffn: Keep the feed-forward branch of those blocks.
        layers: How many last transformer blocks the three settings above apply to (GEM's code calls 6 a depth of 7).
        parallel: The blocks after the fork run as trained, and the dense path adds up their changed attention branches
            on the side (GEM), instead of running one after the other.
        gaussian: Standard deviation, in patches, of a preference for near patches added to the logits (NACLIP).
        scale: Factor of the attention logits.
        average: Mean instead of sum of the terms of ``attention``.
        iterations: Compare unit vectors, at a temperature that follows the tokens' length, after so many smoothings
            (GEM); None compares projections as they are.
        align_kk: Weight of the centred keys' own comparison in ``'aligned'`` attention.
        align_iterations: Steps that turn the keys there; 5 in PEARL's code, which leaves the turn incomplete, None as
            its text has it.
        repair: Patches that stick out before those blocks take the mean of their neighbours: settings of
            :class:`denseclip.clip.token_repair.TokenRepair`, ``{}`` for those of SC-CLIP. CLIP's own transformers only.
        middle: What the last block takes from middle ones: settings of
            :class:`denseclip.clip.middle_layers.MiddleLayers` (SC-CLIP, SFP). Likewise.
        pos_resize: ``'bilinear'``, ``'bicubic'``, ``'bicubic+0.1'`` or ``'crop'``, see
            :func:`denseclip.weights.resize_positions`.
        antialias: Low-pass filter when the position grid shrinks; PyTorch's bicubic filter is another one then, when
            it grows, too.
        rotary: ``'fit'`` rotary positions into the grid that the weights refer to, or ``'count'`` on, see
            :func:`denseclip.clip.towers.rotary_table`; timm's EVA02 and PE trunks only.
        ffn_inputs: Blocks whose normalised feed-forward input (``ln_2`` after attention) is returned; negative numbers
            count from the end.
        keys: Also return the keys of the last block: ``'raw'``, or ``'projected'`` by the output projection as in
            MaskCLIP's code.
        weights_from: Blocks whose mean attention weights are returned (ResCLIP); negative numbers count from the end.
        weights_of_heads: Those of each head; False: their mean, as of one head.
        branch: Blocks whose mean output goes through the last block's values and the affinity, too (CorrCLIP);
            ``'corrclip'`` for those of its code, see :func:`denseclip.clip.branches.middle_blocks`.
        branch_weight: Of what comes out there, added to the pixel embeddings.
        region_weight: Of class tokens that look at one region of the affinity each, added to the embeddings of its
            patches (CorrCLIP); 0: there are none.
        double_class_embedding: Add the class embedding to the class token twice, as DenseCLIP's released ViT
            weights were trained (a slip of the authors' code).
    """

    out_indices: tuple[int, ...] | None = None
    dense: bool = True
    pooled: bool = True
    attention: str = 'qk'
    residual: bool = True
    ffn: bool = True
    layers: int = 1
    parallel: bool = False
    gaussian: float | None = None
    scale: float = 1.0
    average: bool = False
    iterations: int | None = None
    align_kk: float = 0.08
    align_iterations: int | None = 5
    repair: TokenRepair | None = None
    middle: MiddleLayers | None = None
    pos_resize: str = 'bilinear'
    antialias: bool = False
    rotary: str = 'fit'
    ffn_inputs: tuple[int, ...] = ()
    keys: str | None = None
    weights_from: tuple[int, ...] = ()
    weights_of_heads: bool = True
    branch: tuple[int, ...] | str = ()
    branch_weight: float = 1.0
    region_weight: float = 0.0
    double_class_embedding: bool = False

    def __post_init__(self) -> None:
        if self.out_indices is not None:
            object.__setattr__(self, 'out_indices', tuple(self.out_indices))
        for name in ('ffn_inputs', 'weights_from'):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name, kind in (('repair', TokenRepair), ('middle', MiddleLayers)):
            if isinstance(getattr(self, name), Mapping):
                object.__setattr__(self, name, kind(**getattr(self, name)))
        terms = attention_terms(self.attention)
        choices = {'pos_resize': POSITION_MODES, 'rotary': ROTARY_MODES, 'keys': (None, 'raw', 'projected')}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name}='{getattr(self, name)}' is unknown; choose from {', '.join(map(str, known))}."
                )
        if self.iterations is not None and not set(terms) <= {'qq', 'kk', 'vv'}:
            raise ValueError(f"iterations={self.iterations} compares q, k or v with itself, not '{self.attention}'.")
        if self.iterations is not None and (self.gaussian is not None or self.scale != 1.0):
            raise ValueError('iterations has a temperature of its own: leave gaussian and scale out.')
        if self.attention == 'external' and (self.residual or self.ffn or self.layers != 1):
            raise ValueError("attention='external' needs residual=False, ffn=False and layers=1.")
        self._check_branches()
        self._check_middle(terms)
        if self.parallel and self.ffn:
            raise ValueError('parallel=True adds up attention branches only: set ffn=False.')

    def _check_branches(self) -> None:
        if not isinstance(self.branch, str):
            object.__setattr__(self, 'branch', tuple(self.branch))
        elif self.branch != 'corrclip':
            raise ValueError(f"branch='{self.branch}' is unknown; choose from corrclip, or give numbers of blocks.")
        if self.attention != 'external' and self.branches:
            raise ValueError("branch and region_weight share an affinity: they need attention='external'.")

    def _check_middle(self, terms: tuple[str, ...]) -> None:
        if self.middle is None:
            if 'alike' in terms:
                raise ValueError(f"attention='{self.attention}' looks by tokens of a middle block: set middle, too.")
            return
        attention_terms(self.middle.summed_attention or self.attention)
        if self.residual or self.ffn or self.layers != 1 or self.parallel or self.attention == 'external':
            raise ValueError(
                "middle needs residual=False, ffn=False, layers=1, and neither parallel nor attention='external'."
            )

    @property
    def as_trained(self) -> bool:
        """Whether the last blocks run just as they were trained."""
        plain = self.gaussian is None and self.scale == 1.0 and self.iterations is None and not self.parallel
        whole = self.repair is None and self.middle is None
        return self.attention == 'qk' and self.residual and self.ffn and plain and whole

    @property
    def fits_any_tower(self) -> bool:
        """Whether nothing is asked for that needs the explicit walk through a CLIP transformer's blocks."""
        inside = self.repair is not None or self.middle is not None or self.branches
        return not (self.ffn_inputs or self.weights_from or inside) and self.keys is None

    @property
    def branches(self) -> bool:
        """Whether something is read beside the last block."""
        return bool(self.branch or self.region_weight)

    @property
    def looks(self) -> bool:
        """Whether repairing tokens needs the attention of the block before the last ones."""
        return self.repair is not None and self.repair.sign == 'attention'

    def block_options(self) -> dict[str, Any]:
        """Options of :func:`denseclip.clip.blocks.self_attention` for the last blocks, without what a picture adds."""
        return {
            'kind': self.attention,
            'scale': self.scale,
            'average': self.average,
            'iterations': self.iterations,
            'align': Alignment(self.align_kk, self.align_iterations),
        }


@dataclass
class TowerOutput:
    """Answer of an image tower.

    Attributes:
        stages: Feature maps (N, C_i, h_i, w_i), in the order of ``out_indices``.
        dense: Pixel embeddings in the joint space, (N, E, h, w), not normalised; None if not asked for.
        pooled: Image embedding (N, E), not normalised; None if not asked for.
        unprojected: What ``dense`` was projected from, (N, C, h, w); transformers only.
        tokens: Tokens that the changed blocks start from, (N, 1 + hw, C); transformers only, None if read as trained.
        grid: Height and width of the patches in ``tokens`` and in the lists below.
        ffn_inputs: Normalised feed-forward inputs (N, 1 + hw, C), in the order asked for.
        keys: Keys of the last block (N, hw, C) or of the attention pool.
        weights: Mean attention weights of the blocks asked for, (N, heads, 1 + hw, 1 + hw); one head for the mean.
        notes: What ``middle`` and ``repair`` of the read-out need; None if they are not set.
        branches: What is read beside the last block; None if nothing is.
    """

    stages: list[Tensor] = field(default_factory=list)
    dense: Tensor | None = None
    pooled: Tensor | None = None
    unprojected: Tensor | None = None
    tokens: Tensor | None = None
    grid: tuple[int, int] | None = None
    ffn_inputs: list[Tensor] = field(default_factory=list)
    keys: Tensor | None = None
    weights: Tensor | None = None
    notes: MiddleNotes | None = None
    branches: Branches | None = None


class ImageTower(nn.Module):
    """Base of the towers. The wrapped open_clip module is ``visual``, so state-dict names are ``visual.*``.

    Attributes:
        visual: open_clip's image tower, unchanged.
        read_out: What :meth:`forward` returns.
        preprocess: How pictures must be normalised.
        embed_dim: Size of the joint space.
        stage_channels: Channels of the stages returned.
        stage_strides: Their strides.
        multiple: Height and width that pictures should be a multiple of, so that no pixel is left out.
    """

    embed_dim: int
    multiple: tuple[int, int] = (32, 32)
    stage_channels: tuple[int, ...]
    stage_strides: tuple[int, ...]

    def __init__(self, visual: nn.Module, read_out: DenseReadOut | None, preprocess: PreprocessSpec | None) -> None:
        super().__init__()
        self.visual = visual
        self.read_out = read_out if read_out is not None else DenseReadOut()
        self.preprocess = preprocess if preprocess is not None else PreprocessSpec()
        self.grad_checkpointing = False

    def forward(self, images: Tensor, guide: Guide | None = None, prompts: MaskPrompts | None = None) -> TowerOutput:
        """Run the tower.

        Args:
            images: Normalised pictures (N, 3, H, W) of any size.
            guide: What the pictures add to the attention of the last blocks; vision transformers only.
            prompts: Mask prompts and the patches that they replace; vision transformers only.
        """
        raise NotImplementedError

    @contextmanager
    def reading(self, **changes: Any) -> Iterator[None]:
        """Read otherwise for a while.

        Args:
            changes: Settings of :class:`DenseReadOut` that differ.
        """
        before = self.read_out
        self.read_also(**changes)
        try:
            yield
        finally:
            self.read_out = before
            self.read_also()

    def read_also(self, **changes: Any) -> None:
        """Read otherwise from now on.

        Args:
            changes: Settings of :class:`DenseReadOut` that differ, such as ``pooled``; not those of the last blocks.
        """
        self.read_out = replace(self.read_out, **changes)

    def take_prompts(self, prompts: CoupledPrompts) -> None:
        """Put learned tokens behind the patches, and into the first blocks.

        Raises:
            ValueError: If this is no vision transformer of CLIP, or they do not fit it.
        """
        raise ValueError(f'{type(self).__name__} takes no deep prompts: use a CLIP vision transformer.')

    def refuse_attention(self, *known: str) -> None:
        """Raise if the read-out asks for something that only the blocks of a CLIP vision transformer can do."""
        read_out = self.read_out
        changed = (
            read_out.gaussian is not None
            or read_out.iterations is not None
            or read_out.parallel
            or read_out.scale != 1.0
            or read_out.repair is not None
            or read_out.middle is not None
        )
        if (
            read_out.attention not in known
            or changed
            or read_out.ffn_inputs
            or read_out.weights_from
            or read_out.layers != 1
        ):
            raise NoReadOutError(
                f'{type(self).__name__} is read as trained (attention={" or ".join(map(repr, known))}), not with '
                f"attention='{read_out.attention}' and such settings: gaussian, iterations, parallel, scale, layers, "
                'ffn_inputs, weights_from, repair and middle are for vision transformers of CLIP. '
                "Take preset='clip' here."
            )

    def refuse_guide(self, guide: Guide | None) -> None:
        """Raise if something is to be added to an attention that this tower does not have."""
        if guide is not None:
            raise NoReadOutError(
                f'{type(self).__name__} takes no guide (affinity, prior): use a CLIP vision transformer.'
            )

    def refuse_prompts(self, prompts: MaskPrompts | None) -> None:
        """Raise if patches are to be replaced in a tower that has none."""
        if prompts is not None:
            raise ValueError(f'{type(self).__name__} has no patch tokens for mask prompts: use a vision transformer.')

    def checked_indices(self, count: int, default: tuple[int, ...]) -> tuple[int, ...]:
        """The stages asked for, after a check that the tower has them."""
        wanted = default if self.read_out.out_indices is None else self.read_out.out_indices
        bad = [i for i in wanted if not 0 <= i < count]
        if bad or list(wanted) != sorted(set(wanted)):
            raise ValueError(f'out_indices={wanted}: give rising numbers from 0 to {count - 1} for this tower.')
        return wanted


def fixed_size_error(trunk: Any, images: Tensor) -> ValueError:
    """The error for pictures of a size that a timm trunk was not built for and cannot be told of."""
    height, width = trunk.patch_embed.img_size
    return NoReadOutError(
        f'this {type(trunk).__name__} knows the positions of {height}x{width} pictures only, not of '
        f'{images.shape[-2]}x{images.shape[-1]}: resize pictures to that size, or take another architecture.'
    )
