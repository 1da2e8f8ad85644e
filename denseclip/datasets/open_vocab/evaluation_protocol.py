"""One way to take numbers: what is done with every set of it, and with the model."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from denseclip.datasets.open_vocab.setting import Setting


@dataclass(frozen=True)
class EvaluationProtocol:
    """One way to take the numbers.

    Attributes:
        name: Its name in options.
        source: Where it is documented.
        weights: CLIP model and pretrained tag of its published numbers; no tag where the model is a folder.
        settings: By name of the set; sets that it was not published for are missing.
        templates: Sentences for class names.
        pamr: Settings of PAMR on the scores, where the protocol has it.
        clip: Settings of the model's ``clip`` that it was run with, where they are not those of the weights; of
            ``read_out`` those that take the place of a preset's.
        normalisation: Mean and standard deviation of RGB in 0..255; None is what the weights were trained with.
        notes: What to know before comparing.
    """

    name: str
    source: str
    weights: tuple[str, str | None]
    settings: Mapping[str, Setting]
    templates: str = 'openai_imagenet'
    pamr: Mapping[str, Any] | None = None
    clip: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    normalisation: tuple[tuple[float, float, float], tuple[float, float, float]] | None = None
    notes: tuple[str, ...] = field(default=())

    def setting(self, set_name: str) -> Setting:
        """What it does with a set.

        Raises:
            KeyError: If it was not published for the set.
        """
        if set_name not in self.settings:
            raise KeyError(
                f"protocol '{self.name}' is not defined for '{set_name}', only for {', '.join(self.settings)}"
            )
        return self.settings[set_name]
