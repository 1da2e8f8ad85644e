"""A head made of a few labelled pictures: Gaussian scores of pixels, added to what the text says of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from denseclip.clip.middle_layers import MiddleLayers
from denseclip.clip.token_repair import TokenRepair
from denseclip.clip.towers import DenseReadOut
from denseclip.clip.vocabulary import Vocabulary
from denseclip.models.functional.gaussian import gaussian_classifier, mix_scores
from denseclip.models.functional.open_vocab import unit_length

_BESIDE_DENSE = ('out_indices', 'dense', 'pooled', 'ffn_inputs', 'keys', 'weights_from', 'weights_of_heads')
_LOOKED_AT = 4096  # numbers of each weight that a fingerprint is made of


@dataclass(frozen=True)
class PixelTexts:
    """What pixels were compared with.

    Attributes:
        embeddings: Of the classes in the space of the pixel embeddings, of any length.
        scale: Factor of their cosines with pixels in a softmax.

    Shape:
        - embeddings: :math:`(1, K, D)`, or one table per picture, :math:`(N, K, D)`
    """

    embeddings: Tensor
    scale: float


class PixelHead(Protocol):
    """What a segmentor asks between the scores of its words and its labels."""

    def __call__(
        self, logits: Tensor, features: Tensor, vocabulary: Vocabulary, texts: PixelTexts | None = None
    ) -> Tensor:
        """Scores in place of those of the text.

        Args:
            logits: Of the classes by their texts, in units of a softmax; classes beyond the vocabulary's (a background
                with prompts) come last.
            features: Pixel embeddings, of any length.
            vocabulary: What the classes are.
            texts: What the pixels were compared with.

        Shape:
            - logits and result: :math:`(N, K, h, w)`; features: :math:`(N, D, h, w)`
        """
        ...


@dataclass
class Recorder:
    """Stands where a head would stand, changes nothing, and keeps what passes."""

    logits: Tensor | None = None
    features: Tensor | None = None
    texts: PixelTexts | None = None

    def __call__(
        self, logits: Tensor, features: Tensor, vocabulary: Vocabulary, texts: PixelTexts | None = None
    ) -> Tensor:
        """See :class:`PixelHead`."""
        del vocabulary
        self.logits, self.features, self.texts = logits, features, texts
        return logits


class KnowsClasses:
    """Mix-in for heads: which classes of a vocabulary they know.

    Attributes:
        names: Classes of the head.
    """

    names: tuple[str, ...]
    _chosen: tuple[Vocabulary, Tensor, Tensor] | None = None

    def classes_of(self, vocabulary: Vocabulary) -> tuple[Tensor, Tensor]:
        """Which classes of a vocabulary the head knows, by any of their names, and where it has them.

        Returns:
            Numbers of the classes, and of the head's, (S',) each.
        """
        if self._chosen is None or self._chosen[0] is not vocabulary:
            place = {name.casefold(): number for number, name in enumerate(self.names)}
            found: dict[int, int] = {}
            for label, entry in enumerate(vocabulary.classes):
                own = next((place[n.casefold()] for n in entry.names if n.casefold() in place), None)
                if own is not None and own not in found.values():
                    found[label] = own
            labels = torch.tensor(list(found), dtype=torch.long, device='cpu')
            self._chosen = vocabulary, labels, torch.tensor(list(found.values()), dtype=torch.long, device='cpu')
        return self._chosen[1], self._chosen[2]


@dataclass(eq=False)
class PixelGDAHead(KnowsClasses):
    """Gaussians of classes with one shared precision, over unit-length pixel embeddings.

    Source: "A Hard-to-Beat Baseline for Training-Free CLIP-based Adaptation" (Wang et al., ICLR 2024), pixels for
    pictures.

    Attributes:
        names: Classes with samples.
        means: Mean embedding of each.
        precision: Inverse of their shared covariance.
        priors: Probability of each class.
        alpha: Weight of the Gaussian scores beside the text's.
        quantiles: Squared distances from the nearest mean that are exceeded by 1, 1 - 1/Q, ... 0 of the labelled
            pixels that were held out, rising.
        space: What the embeddings belong to, see :func:`feature_space`.
        vocabulary: Words that the head was made with.
        facts: What else a reader of the file may want to know.

    Shape:
        - means: :math:`(S, D)`; precision: :math:`(D, D)`; priors: :math:`(S,)`; quantiles: :math:`(Q + 1,)`
    """

    names: tuple[str, ...]
    means: Tensor
    precision: Tensor
    priors: Tensor
    alpha: float
    quantiles: Tensor
    space: Mapping[str, str]
    vocabulary: Vocabulary
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        weight, bias = gaussian_classifier(self.means.double(), self.precision.double(), self.priors.double())
        self._linear = weight.float(), bias.float()
        # Distances in the space where the covariance is the identity.
        half = torch.linalg.cholesky(self.precision.double())
        self._white = half.float(), (self.means.double() @ half).float()

    def __call__(
        self, logits: Tensor, features: Tensor, vocabulary: Vocabulary, texts: PixelTexts | None = None
    ) -> Tensor:
        """See :class:`PixelHead`."""
        del texts
        labels, own = self.classes_of(vocabulary)
        weight, bias = (part.to(features.device) for part in self._linear)
        unit = unit_length(features.float())
        own = own.to(features.device)
        scores = torch.einsum('ndhw,ds->nshw', unit, weight[:, own]) + bias[own][:, None, None]
        return mix_scores(logits, scores, labels.to(logits.device), self.alpha)

    def strangeness(self, features: Tensor) -> Tensor:
        """How unlike all labelled classes pixels are.

        Args:
            features: Pixel embeddings, of any length.

        Returns:
            The part of held-out labelled pixels that lie nearer to a class mean (Mahalanobis distance), 0..1: values
            near 1 are met on pixels of no class, or hardly ever.

        Shape:
            - features: :math:`(N, D, h, w)`; result: :math:`(N, 1, h, w)`
        """
        half, means = (part.to(features.device) for part in self._white)
        rows = unit_length(features.float()).movedim(1, -1) @ half
        nearest = torch.cdist(rows.flatten(0, 2), means).amin(dim=1).square()
        table = self.quantiles.to(features.device)
        rank = torch.searchsorted(table, nearest.contiguous()) / max(len(table) - 1, 1)
        return rank.clamp_max(1.0).view(rows.shape[:3])[:, None]


def takes_pixel_head(model: Any) -> bool:
    """Whether a model has embeddings of pixels that a head can be made of."""
    return bool(getattr(model, 'has_pixel_features', False))


def feature_space(model: Any) -> dict[str, str]:
    """What a model's pixel embeddings belong to: a head made in one space means nothing in another.

    Returns:
        ``model``: its class; ``read_out``: how pixels are read out of its tower; ``tower``: fingerprint of its weights.
    """
    read_out: Any = getattr(getattr(model, 'tower', None), 'read_out', None)
    known = isinstance(read_out, DenseReadOut)
    return {
        'model': type(model).__name__,
        'read_out': json.dumps(_dense_settings(asdict(read_out)), sort_keys=True) if known else '',
        'tower': _fingerprint(model),
    }


def _dense_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """What a read-out says of dense embeddings and is not the default, as plain data.

    So settings that come later, and what is returned beside the embeddings, make no other space of the same one.
    """
    found = _changed(given, DenseReadOut(), _BESIDE_DENSE)
    for name, kind in (('repair', TokenRepair), ('middle', MiddleLayers)):
        if isinstance(found.get(name), Mapping):
            found[name] = _changed(found[name], kind(), ())
    return found


def _changed(given: Mapping[str, Any], defaults: Any, left_out: Sequence[str]) -> dict[str, Any]:
    usual, plain = (json.loads(json.dumps(part)) for part in (asdict(defaults), dict(given)))
    return {
        name: value
        for name, value in plain.items()
        if name not in left_out and (name not in usual or value != usual[name])
    }


def _fingerprint(model: nn.Module) -> str:
    """Hash of some numbers of every weight, spread evenly: all of a large model would take seconds."""
    need = getattr(model, 'need_weights', None)
    if need is not None:
        need()
    digest = hashlib.sha256()
    for name, value in sorted(model.named_parameters()):  # state_dict() leaves towers out that have a source
        flat = value.detach().flatten()
        part = flat[:: max(1, len(flat) // _LOOKED_AT)].cpu().contiguous()
        digest.update(f'{name}{tuple(value.shape)}'.encode())
        digest.update(part.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def differing(expected: Mapping[str, str], found: Mapping[str, str]) -> Sequence[str]:
    """In which respects two spaces differ."""

    def part(space: Mapping[str, str], key: str) -> Any:
        return _read(space.get(key)) if key == 'read_out' else space.get(key)

    return [key for key in ('model', 'read_out', 'tower') if part(expected, key) != part(found, key)]


def _read(text: Any) -> Any:
    """Settings of a read-out from a file, which may spell out all that there were when it was written."""
    try:
        given = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return text
    return _dense_settings(given) if isinstance(given, dict) else text
