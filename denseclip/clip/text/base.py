"""What every text tower can do: count, crop, batch and identify; the encoding itself is the subclass's."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .tokenizers import fill

_NO_SETTINGS = ('training', 'grad_checkpointing', 'gradient_checkpointing')


class PromptTooLongError(ValueError):
    """A prompt has more tokens than the tower has positions."""


class Tokenizer(Protocol):
    """Turns one string into token ids, special tokens included."""

    pad_id: int

    def __call__(self, text: str) -> list[int]:
        """Token ids with start and end tokens, neither padded nor cut."""

    def shorten(self, ids: list[int], length: int) -> list[int]:
        """The first ``length`` ids, still ending as a text must end."""

    @property
    def identity(self) -> str:
        """A string that differs between tokenizers that give different ids."""


class TextTower(nn.Module):
    """Base of all text towers.

    Attributes:
        embed_dim: Size of the embeddings.
        width: Size of a token inside the tower, and so of learnable contexts.
        context_length: Most tokens a prompt may have, special tokens included.
        crops: True when padding does not change the result, so that prompts run at their true length.
    """

    embed_dim: int
    width: int
    context_length: int
    crops = True

    def __init__(self, tokenizer: Tokenizer | None) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self._identity: tuple[tuple, str] | None = None

    def encode_tokens(self, tokens: Tensor, contexts: Tensor | None = None) -> Tensor:
        """Embed token ids, with learnable contexts after the start token when given.

        Args:
            tokens: Ids, padded at the end.
            contexts: Word vectors that all prompts share.

        Returns:
            Embeddings, not normalised; one set per set of contexts.

        Shape:
            - tokens: :math:`(P, L)`
            - contexts: :math:`(B', N_2, W)`
            - result: :math:`(B', P, E)`, with :math:`B' = 1` without contexts
        """
        raise NotImplementedError

    def tokenize(self, texts: str | Sequence[str], max_length: int | None = None, *, truncate: bool = False) -> Tensor:
        """Token ids of prompts, padded to the longest of them only.

        Args:
            texts: One prompt or several.
            max_length: Most tokens allowed, special tokens included; the tower's context length when None.
            truncate: Cut prompts that are too long instead of raising.

        Returns:
            LongTensor (P, L) on the CPU.

        Raises:
            PromptTooLongError: Naming the prompt, its length and the limit.
        """
        return self._pad(self._token_lists([texts] if isinstance(texts, str) else texts, max_length, truncate))

    def _token_lists(self, texts: Sequence[str], max_length: int | None, truncate: bool) -> list[list[int]]:
        if self.tokenizer is None:
            raise ValueError(f'this {type(self).__name__} was built without a tokenizer; pass token ids instead.')
        limit = self.context_length if max_length is None else max_length
        lists = [self.tokenizer(text) for text in texts]
        for place, (text, ids) in enumerate(zip(texts, lists, strict=True)):
            if len(ids) <= limit:
                continue
            if not truncate:
                raise PromptTooLongError(
                    f"prompt '{text}' has {len(ids)} tokens with its start and end tokens, the limit is {limit}: "
                    'shorten it, raise context_length, or pass truncate=True.'
                )
            lists[place] = self.tokenizer.shorten(ids, limit)
        return lists

    def _pad(self, lists: list[list[int]]) -> Tensor:
        length = max(map(len, lists), default=0) if self.crops else self.context_length
        rows = [fill(self.tokenizer, ids, length) for ids in lists]
        return torch.tensor(rows, dtype=torch.long, device='cpu').reshape(len(lists), length)

    @torch.no_grad()
    def encode(self, texts: str | Sequence[str], batch_size: int = 256, *, truncate: bool = False) -> Tensor:
        """Embed prompts, in batches of similar length, each padded only to its own longest prompt.

        Args:
            texts: Prompts.
            batch_size: Prompts per pass.
            truncate: As in :meth:`tokenize`.

        Returns:
            Embeddings (P, E), not normalised, in the order of ``texts``, on the tower's device.
        """
        texts = [texts] if isinstance(texts, str) else list(texts)
        lists = self._token_lists(texts, None, truncate)
        order = sorted(range(len(lists)), key=lambda i: len(lists[i]))
        parameter = next(self.parameters())
        out = torch.empty(len(lists), self.embed_dim, dtype=parameter.dtype, device=parameter.device)
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            tokens = self._pad([lists[i] for i in batch]).to(parameter.device)
            out[torch.tensor(batch, device=parameter.device)] = self.encode_tokens(tokens)[0].to(out.dtype)
        return out

    def encode_sets(self, sentences: Sequence[str], sets: int, batch_size: int = 256) -> Tensor:
        """One embedding per set of sentences that say the same: the mean of unit embeddings.

        Args:
            sentences: Those of the first set, then those of the second, and so on.
            sets: Number of sets, all of one size.
            batch_size: See :meth:`encode`.

        Returns:
            Unit-length rows (sets, E).
        """
        embeddings = F.normalize(self.encode(sentences, batch_size), dim=-1)
        return F.normalize(embeddings.unflatten(0, (sets, -1)).mean(dim=1), dim=-1)

    def fingerprint(self) -> str:
        """Hash of all that decides the embeddings: class, settings, tokenizer, every parameter's and buffer's bytes.

        The bytes are hashed again only after a parameter was replaced, moved or written to. Writes through ``.data``
        leave no trace in PyTorch's version counters, so one element of each parameter is compared as well.
        """
        parameters = {name: _whole(parameter) for name, parameter in self.named_parameters()}
        probe = torch.stack([p.detach().flatten()[0].float() for p in parameters.values()]).tolist()
        settings = f'{type(self).__name__} {self.context_length} {self.tokenizer and self.tokenizer.identity}'
        settings = f'{settings} {self._structure()}'
        key = (settings, *((p.data_ptr(), p._version) for p in self.parameters()), *probe)
        if self._identity is None or self._identity[0] != key:
            digest = hashlib.sha256(settings.encode())
            for name, value in (*parameters.items(), *self.named_buffers()):
                digest.update(f'{name}{tuple(value.shape)}{value.dtype}'.encode())
                digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
            self._identity = (key, digest.hexdigest())
        return self._identity[1]

    def _structure(self) -> str:
        """What decides the result and leaves no trace in the parameters: activations, heads, epsilons, pooling."""
        parts = []
        for name, module in self.named_modules():
            plain = {key: value for key, value in sorted(vars(module).items()) if _decides(key, value)}
            parts.append(f'{name} {type(module).__name__} {plain} {module.extra_repr()}')
        return ' '.join(parts)


def _whole(parameter: Tensor) -> Tensor:
    """A parameter that is spread over processes, put together; any other as it is."""
    put_together = getattr(parameter, 'full_tensor', None)
    return parameter if put_together is None else put_together()


def _decides(key: str, value: object) -> bool:
    """Whether an attribute of a module is a setting that its result may depend on."""
    return not key.startswith('_') and key not in _NO_SETTINGS and isinstance(value, str | int | float | tuple)
