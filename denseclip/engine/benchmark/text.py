"""Benchmark of the text side: prompts at their true length, and vocabularies from the disk cache."""

from __future__ import annotations

import difflib
import functools
import itertools
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import open_clip
import torch
import torch.nn.functional as F
from torch import Tensor

from denseclip.clip.templates import fill, resolve_templates
from denseclip.clip.text import CLIPTextTower, TextTower
from denseclip.clip.text_bank import TextBank
from denseclip.clip.vocabulary import Vocabulary

from ..config import OptionError
from .machine import describe, set_up
from .patching import wrapped
from .report import Report
from .timing import Samples, synchronize
from .variants import FAST, PLAIN


@dataclass(frozen=True)
class TextOptions:
    """A text tower and its prompts.

    Attributes:
        model: open_clip architecture; its text tower gets random weights.
        prompts: Number of prompts.
        vocabulary: Their words.
        templates: Their sentences, a set's name.
        batch_size: Prompts per pass.
        device: Where the tower runs.
        threads: CPU threads; None leaves PyTorch's choice.
    """

    model: str = 'ViT-B-16'
    prompts: int = 1000
    vocabulary: str = 'ade20k'
    templates: str = 'openai_imagenet'
    batch_size: int = 100
    device: str = 'cpu'
    threads: int | None = None


def benchmark_text(options: TextOptions, *, against_plain: bool = False) -> Report:
    """Measure the text side.

    Both versions go through the prompts once, batch by batch in turn, so that a long measurement is not at the mercy of
    what else the machine does.

    Args:
        options: Tower and prompts.
        against_plain: Also encode the prompts padded to the full context.

    Returns:
        The report; ``report.equal`` says whether embeddings agree to 1e-5.
    """
    set_up(options.device, options.threads)
    tower = build_text_tower(options.model).to(options.device).eval()
    prompts = make_prompts(options)
    lengths = [int(row.count_nonzero()) for row in tower.tokenize(prompts)]
    report = Report(
        f'Text tower of {options.model}: {len(prompts)} prompts of {min(lengths)} to {max(lengths)} tokens, '
        f'context {tower.context_length}',
        f'{describe(options.device)}, float32',
    )
    _true_length(report, tower, prompts, options, against_plain)
    _disk_cache(report, tower, prompts, options)
    return report


def build_text_tower(model: str) -> TextTower:
    """The text tower of an open_clip architecture, with random weights and without its image tower.

    Raises:
        OptionError: If open_clip does not know the architecture, or its text tower is not CLIP's.
    """
    config = open_clip.get_model_config(model)
    if config is None:
        near = difflib.get_close_matches(model, open_clip.list_models())
        hint = f'nearest: {", ".join(near)}' if near else 'names are such as ViT-B-16 or RN50'
        raise OptionError(f"open_clip has no architecture '{model}'; {hint}")
    text = config['text_cfg']
    if 'hf_model_name' in text or text.get('no_causal_mask'):
        raise OptionError(f"the text tower of '{model}' is not causal: its padding cannot be left out")
    torch.manual_seed(0)
    return CLIPTextTower.create(
        context_length=text.get('context_length', 77),
        vocab_size=text.get('vocab_size', 49408),
        width=text['width'],
        heads=text['heads'],
        layers=text['layers'],
        embed_dim=config['embed_dim'],
        quick_gelu=config.get('quick_gelu', False),
    )


def make_prompts(options: TextOptions) -> list[str]:
    """Different prompts: every template with every name, in that order, as many as asked for."""
    names = Vocabulary.typed(options.vocabulary).names
    pairs = itertools.product(resolve_templates(options.templates), names)
    prompts = list(dict.fromkeys(fill(template, name) for template, name in pairs))[: options.prompts]
    if len(prompts) < options.prompts:
        raise OptionError(f'vocabulary and templates give {len(prompts)} prompts only; ask for at most so many')
    return prompts


@torch.no_grad()
def encode_padded(tower: TextTower, prompts: list[str]) -> Tensor:
    """Embeddings of prompts padded to the full context, as CLIP's own code makes them."""
    tokens = tower.tokenize(prompts)
    tokens = F.pad(tokens, (0, tower.context_length - tokens.shape[1]))
    first = next(tower.parameters())
    # With contexts, though of no tokens, every token of every prompt goes through all blocks.
    return tower.encode_tokens(tokens.to(first.device), first.new_zeros(1, 0, tower.width))[0]


def _true_length(report: Report, tower: TextTower, prompts: list[str], options: TextOptions, against: bool) -> None:
    """Time both ways batch by batch, in turn, over prompts in the order of their length."""
    ordered = sorted(prompts, key=lambda prompt: tower.tokenize([prompt]).shape[1])
    batches = [ordered[i : i + options.batch_size] for i in range(0, len(ordered), options.batch_size)]
    ways: dict[str, Callable[[list[str]], Tensor]] = {FAST: tower.encode}
    if against:
        ways[PLAIN] = functools.partial(encode_padded, tower)
    for encode in ways.values():
        encode(batches[0][:2])
    results: dict[str, list[Tensor]] = {name: [] for name in ways}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for batch in batches:
        for name, encode in ways.items():
            elapsed, result = _timed(functools.partial(encode, batch), options.device)
            seconds[name].append(elapsed)
            results[name].append(result)
    table = report.table('Prompts at their true length', 'version', 'all prompts, s', 'median batch, ms')
    for name, values in seconds.items():
        table.add(name, sum(values), Samples(tuple(values)).median * 1e3)
    if against:
        plain, fast = (Samples(tuple(seconds[name])) for name in (PLAIN, FAST))
        table.add('ratio', sum(plain.seconds) / sum(fast.seconds), plain.median / fast.median)
        difference = float((torch.cat(results[PLAIN]) - torch.cat(results[FAST])).abs().max())
        report.equal = difference < 1e-5
        report.table('Embeddings', 'quantity', 'value').add('largest difference', f'{difference:.1e}')


def _disk_cache(report: Report, tower: TextTower, prompts: list[str], options: TextOptions) -> None:
    """Time a vocabulary's first and second load by two banks that share a folder."""
    passes = []

    def counted(encode: Callable[..., Tensor]) -> Callable[..., Tensor]:
        @functools.wraps(encode)
        def call(*args: Any, **kwargs: Any) -> Tensor:
            passes.append(1)
            return encode(*args, **kwargs)

        return call

    table = report.table('Vocabulary through TextBank', 'load', 'time, ms', 'passes of the tower')
    vocabulary = Vocabulary.from_names(prompts)
    with tempfile.TemporaryDirectory() as folder, wrapped(tower, 'encode_tokens', counted):
        banks = [TextBank(tower, cache_dir=folder, batch_size=options.batch_size) for _ in range(2)]
        loads = {'first: encode and store': banks[0], 'second: from disk': banks[1], 'third: from memory': banks[1]}
        for label, bank in loads.items():
            passes.clear()
            elapsed, _ = _timed(functools.partial(bank.encode, vocabulary), options.device)
            table.add(label, elapsed * 1e3, len(passes))


def _timed(work: Callable[[], Any], device: str) -> tuple[float, Any]:
    synchronize(device)
    start = time.perf_counter()
    result = work()
    synchronize(device)
    return time.perf_counter() - start, result
