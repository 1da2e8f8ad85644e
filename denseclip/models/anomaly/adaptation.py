"""Test-time adaptation: a small layer fitted to one picture, and thrown away after it.

Source: AnoVL (arXiv 2308.15939), section 3.4, and what its scripts compute where the two differ.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from denseclip.core.precision import full_precision
from denseclip.models.functional.anomaly_scores import probability_adaptation_loss, state_cosines

from .state_text import StateText

ADAPTERS = ('text', 'linear')


class FeatureAdapter(nn.Module):
    """Residual adapter of patch embeddings: ``0.5 t + 0.5 g(t)``.

    Args:
        kind: ``'text'``: ``g(t) = tanh(W t / |t| + b) M`` with the prompts' unit vectors as rows of M (the MVTec
            script). ``'linear'``: ``g(t) = W t / |t| + b`` (the VisA script).
        weight: Initial W, (P, E) or (E, E).
        bias: Initial b.
        prompts: M, (P, E), never trained.
        residual: Share of the adapter.

    Shape:
        - input and output: :math:`(*, E)`, not normalised
    """

    def __init__(self, kind: str, weight: Tensor, bias: Tensor, prompts: Tensor, residual: float = 0.5) -> None:
        super().__init__()
        self.kind, self.residual, self.prompts = kind, residual, prompts
        self.weight = nn.Parameter(weight.to(prompts, copy=True))
        self.bias = nn.Parameter(bias.to(prompts, copy=True))

    def adapt(self, tokens: Tensor) -> Tensor:
        """The adapter's share g(t)."""
        out = F.linear(F.normalize(tokens, dim=-1), self.weight, self.bias)
        return out.tanh() @ self.prompts if self.kind == 'text' else out

    def forward(self, tokens: Tensor) -> Tensor:
        """Adapted embeddings."""
        return (1 - self.residual) * tokens + self.residual * self.adapt(tokens)


@dataclass
class Draws:
    """All that is random in the adaptation to one picture.

    Attributes:
        weight: Initial weight of the adapter.
        bias: Initial bias.
        noise: Noise on the patch embeddings, (steps, T, h, w, E).
    """

    weight: Tensor
    bias: Tensor
    noise: Tensor


@dataclass
class Adapted:
    """Result of the adaptation to one picture.

    Attributes:
        tokens: Adapted patch embeddings (T, h, w, E).
        adapter: The fitted adapter.
        losses: Loss before each step, (steps,).
    """

    tokens: Tensor
    adapter: FeatureAdapter
    losses: Tensor


class TestTimeAdaptation:
    """Fits an adapter to the patch embeddings of one picture.

    Every picture starts from the same draws, made on the CPU from ``seed``, and with a fresh optimizer. So its result
    depends on the picture alone: not on the order of a folder, the batch, the worker, the process or the device's
    random generator. The authors draw anew for every picture, and keep AdamW's moments and step count from one picture
    of an object to the next; ``carry_over`` does both as they do, and then order matters.

    Args:
        kind: See :class:`FeatureAdapter`.
        steps: Optimizer steps per picture.
        lr: Learning rate of AdamW.
        weight_decay: Of AdamW.
        noise_std: Standard deviation of the noise on patch embeddings (the authors' 0.05 * 1.1).
        seed: Of the draws; the authors' are 111 (MVTec) and 42 (VisA).
        entropy_weight: See :func:`denseclip.models.functional.anomaly_scores.adaptation_loss`.
        contrast_weight: Likewise.
        carry_over: Keep the optimizer's state between the pictures of an object, as the authors do.
    """

    __test__ = False  # no test class, whatever its name says to pytest

    def __init__(
        self,
        kind: str = 'text',
        steps: int = 5,
        lr: float = 1e-3,
        weight_decay: float = 0.01,
        noise_std: float = 0.055,
        seed: int = 111,
        entropy_weight: float = 1.0,
        contrast_weight: float = 0.5,
        carry_over: bool = False,
    ) -> None:
        if kind not in ADAPTERS:
            raise ValueError(f'adaptation kind="{kind}" is unknown; choose from {", ".join(ADAPTERS)}.')
        if steps < 1:
            raise ValueError(f'adaptation needs steps >= 1, got {steps}; use adaptation=None for none.')
        self.kind, self.steps, self.noise_std = kind, steps, noise_std
        self.lr, self.weight_decay = lr, weight_decay
        self.seed, self.carry_over = seed, carry_over
        self.weights = (entropy_weight, contrast_weight)
        self.reset()

    def reset(self) -> None:
        """Forget what ``carry_over`` keeps."""
        self._carried: dict[Any, tuple[FeatureAdapter, torch.optim.Optimizer]] = {}
        self._generator = torch.Generator('cpu').manual_seed(self.seed)

    def draws(self, tokens: Tensor, prompts: Tensor) -> Draws:
        """Random numbers for one picture, made on the CPU: PyTorch's default Linear initialisation, Gaussian noise."""
        generator = self._generator if self.carry_over else torch.Generator('cpu').manual_seed(self.seed)
        width = tokens.shape[-1]
        rows = len(prompts) if self.kind == 'text' else width
        bound = width**-0.5
        like: dict[str, Any] = dict(generator=generator, dtype=torch.float32, device='cpu')
        weight = (2 * torch.rand(rows, width, **like) - 1) * bound
        bias = (2 * torch.rand(rows, **like) - 1) * bound
        return Draws(weight, bias, torch.randn(self.steps, *tokens.shape, **like) * self.noise_std)

    def __call__(
        self,
        tokens: Tensor,
        text: StateText,
        to_map: Callable[[Tensor], Tensor] | None = None,
        draws: Draws | None = None,
        owner: Any = None,
    ) -> Adapted:
        """Adapt the patch embeddings of one picture.

        Args:
            tokens: Patch embeddings of the picture's tiles, not normalised.
            text: The object's states and prompts.
            to_map: Turns probabilities (T, 2, h, w) of the tiles into those of the picture, on which the loss then
                is (the VisA script); None: the loss is on the patches.
            draws: Initial weights and noise; by default :meth:`draws`.
            owner: Whose pictures share an optimizer with ``carry_over``: the object.

        Shape:
            - tokens: :math:`(T, h, w, E)`
        """
        with torch.inference_mode(False), torch.enable_grad(), full_precision(tokens.device.type):
            # Copies: what was made under inference_mode can take no part in a backward pass.
            tokens = tokens.detach().float().clone()
            text = text.to(tokens.device, torch.float32, copy=True)
            draws = self.draws(tokens, text.prompts) if draws is None else draws
            adapter, optimizer = self.start(text, draws, owner)
            losses = []
            for noise in draws.noise:
                loss = self.loss(adapter, tokens, noise.to(tokens), text.states, to_map)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(loss.detach())
            with torch.no_grad():
                return Adapted(adapter(tokens), adapter, torch.stack(losses))

    def loss(
        self,
        adapter: FeatureAdapter,
        tokens: Tensor,
        noise: Tensor,
        states: Tensor,
        to_map: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Loss of one step; arguments as of :meth:`__call__`."""
        cosines = state_cosines(adapter(torch.stack([tokens, tokens + noise])), states)
        clean, noisy = cosines.softmax(dim=-1)
        if to_map is not None:
            clean, noisy = (to_map(p.permute(0, 3, 1, 2)).permute(0, 2, 3, 1) for p in (clean, noisy))
        return probability_adaptation_loss(clean, noisy, *self.weights)

    def start(self, text: StateText, draws: Draws, owner: Any = None) -> tuple[FeatureAdapter, torch.optim.Optimizer]:
        """An adapter with its initial weights, and its optimizer; arguments as of :meth:`__call__`."""
        carried = self._carried.get(owner) if self.carry_over else None
        if carried is None:
            adapter = FeatureAdapter(self.kind, draws.weight, draws.bias, text.prompts)
            carried = adapter, torch.optim.AdamW(adapter.parameters(), lr=self.lr, weight_decay=self.weight_decay)
            if self.carry_over:
                self._carried[owner] = carried
            return carried
        with torch.no_grad():
            carried[0].weight.copy_(draws.weight)
            carried[0].bias.copy_(draws.bias)
        return carried
