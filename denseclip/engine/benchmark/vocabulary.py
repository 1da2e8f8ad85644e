"""How long an open-vocabulary model takes to another vocabulary, against building the model anew."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from denseclip.clip.vocabulary import Vocabulary
from denseclip.weights import write_safetensors

from ..config import OptionError, load_config
from .machine import describe, set_up
from .plain_open_vocab import is_open_vocabulary
from .report import Report


@dataclass(frozen=True)
class VocabularyOptions:
    """What to measure.

    Attributes:
        config: Config of an open-vocabulary segmentor.
        vocabulary: The names to change to.
        start: How many of them the model has before.
        unknown: How many of them are new in the case where most are known.
        device: Where the model runs.
        threads: CPU threads; None leaves PyTorch's choice.
        overrides: Dotted config keys and values.
    """

    config: str
    vocabulary: str = 'ade20k'
    start: int = 20
    unknown: int = 10
    device: str = 'cpu'
    threads: int | None = None
    overrides: Mapping[str, Any] | None = None


def benchmark_vocabulary(options: VocabularyOptions) -> Report:
    """Time ``set_vocabulary`` until the class embeddings are there, and a build of the model until they are there.

    Weights are random; they are written to a file first, so that the build reads weights as any build does. Each case
    runs once: the text tower's passes take long enough.

    Raises:
        OptionError: If the config builds no open-vocabulary segmentor, or ``start`` or ``unknown`` do not fit.
    """
    set_up(options.device, options.threads)
    names = Vocabulary.typed(options.vocabulary).names
    if not 0 < options.start < len(names) or not 0 < options.unknown < len(names):
        raise OptionError(f'start and unknown must lie between 0 and the {len(names)} names of {options.vocabulary}')
    few, most = names[: options.start], names[: -options.unknown]
    with tempfile.TemporaryDirectory() as folder:
        config = _with_weights(options, Path(folder))
        cold, warm = Path(folder, 'cold'), Path(folder, 'warm')
        seconds = {
            f'build with {len(names)} names, no text on disk': _build(config, names, cold, options)[0],
            f'build with {len(names)} names, their text on disk': _build(config, names, cold, options)[0],
        }
        model = _build(config, few, warm, options)[1]
        seconds[f'{len(few)} -> {len(names)} names, none of the others known'] = _change(model, names)
        del model
        model = _build(config, few, cold, options)[1]
        seconds[f'{len(few)} -> {len(names)} names, their text on disk'] = _change(model, names)
        seconds[f'{len(names)} -> {len(few)} names, all known'] = _change(model, few)
        del model
        model = _build(config, most, None, options)[1]
        _change(model, few)
        seconds[f'{len(few)} -> {len(names)} names, all but {options.unknown} met before'] = _change(model, names)
    sentences = len(model.text.bank.templates)
    report = Report(f'{options.config}: vocabulary', f'{describe(options.device)}, {sentences} sentences per name')
    first, second = list(seconds.values())[:2]
    columns = 'seconds', 'build, no text / this', 'build, text on disk / this'
    table = report.table('Until the class embeddings are there', 'case', *columns)
    for case, value in seconds.items():
        table.add(case, value, first / value, second / value)
    return report


def _with_weights(options: VocabularyOptions, folder: Path) -> Config:
    """The config with the weights of one random model in a file."""
    config = load_config(options.config, options.overrides)
    init_default_scope(config.get('default_scope', 'mmseg'))
    torch.manual_seed(0)
    model: Any = MODELS.build({**config.model, 'clip': {**config.model.clip, 'pretrained': None}})
    if not is_open_vocabulary(model):
        raise OptionError(f"'{options.config}' builds a {type(model).__name__}, which has a fixed vocabulary")
    path = folder / 'clip.safetensors'
    write_safetensors(model._parts[0].clip.model.state_dict(), path)
    config.model.clip.pretrained = str(path)
    return config


def _build(config: Config, names: Sequence[str], cache: Path | None, options: VocabularyOptions) -> tuple[float, Any]:
    begin = time.perf_counter()
    model: Any = MODELS.build({**config.model, 'vocabulary': list(names), 'cache_dir': cache})
    model.to(options.device)
    model.class_embeddings()
    return time.perf_counter() - begin, model


def _change(model: Any, names: Sequence[str]) -> float:
    begin = time.perf_counter()
    model.set_vocabulary(list(names))
    model.class_embeddings()
    return time.perf_counter() - begin
