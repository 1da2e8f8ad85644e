"""Where a CLIP model's parts come from, before anything is built: names, tags, files, folders, the hub."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
from open_clip import pretrained as tags

from denseclip.weights import resolve, weight_file
from denseclip.weights.hub import hub_reachable, is_cached, reachable
from denseclip.weights.source import SCHEMES

from .errors import UnknownModelError, nearest
from .file_settings import FileSettings
from .folders import OPEN_CLIP, TRANSFORMERS, facts_beside, folder_facts


@dataclass
class Found:
    """Parts of a model.

    Attributes:
        name: For messages.
        config: open_clip configuration; None where it must be told from the tensors.
        settings: Activation and normalisation, where more than the file itself says them.
        file: Weights, or None.
        folder: Where its tokenizer and the configuration of its text tower may lie.
        model: The architecture, if one was named.
    """

    name: str
    config: dict[str, Any] | None = None
    settings: FileSettings | None = None
    file: Path | None = None
    folder: Path | None = None
    model: str = ''


def find(model: str, pretrained: str | Path | None, cache_dir: str | Path | None) -> Found:
    """Find the parts of a model; arguments and errors as of :func:`denseclip.clip.loading.load_clip`."""
    if model.startswith(('hf-hub:', 'local-dir:')):
        if pretrained is not None and str(pretrained) != model:
            raise ValueError(
                f"'{model}' brings its own weights; leave pretrained='{pretrained}' out, or name an architecture "
                'of open_clip instead of the folder.'
            )
        return _find_folder(model, cache_dir)
    name = model.replace('/', '-')
    config = open_clip.get_model_config(name)
    if config is None:
        if model.startswith('package:') or Path(model).expanduser().exists():
            return _find_path(model)
        raise UnknownModelError(
            f"open_clip has no architecture '{model}', nor is it a file; {nearest(name, open_clip.list_models())}"
        )
    found = Found(name, config, model=name)
    if pretrained is None:
        return found
    found.name = f'{name}/{pretrained}'
    entry = tags.get_pretrained_cfg(name, str(pretrained))
    if entry:
        # Weights know their activation; the same architecture was trained with both.
        quick_gelu = bool(entry.get('quick_gelu', config.get('quick_gelu', False)))
        found.settings = FileSettings(quick_gelu, entry)
        found.file = _download(name, str(pretrained), entry, cache_dir)
    else:
        found.file = _given_file(name, str(pretrained), cache_dir)
        found.folder = found.file.parent
    return found


def _find_path(model: str) -> Found:
    """A file or folder named without a scheme: by the folder's own words, or by the tensors alone."""
    path = resolve(model)
    facts = folder_facts(path) if path.is_dir() else facts_beside(path)
    if facts is None:
        return Found(model, file=weight_file(path))
    settings = FileSettings(facts.quick_gelu, facts.preprocess)
    return Found(model, facts.config, settings, weight_file(path), facts.file.parent)


def _find_folder(model: str, cache_dir: str | Path | None) -> Found:
    folder = resolve(model, cache_dir=cache_dir)
    facts = folder_facts(folder)
    if facts is None:
        raise FileNotFoundError(
            f"'{model}' has no {OPEN_CLIP}, nor a {TRANSFORMERS} of transformers' CLIP ({folder}), so its architecture "
            'is unknown.'
        )
    settings = FileSettings(facts.quick_gelu, facts.preprocess)
    return Found(model, facts.config, settings, weight_file(folder), folder)


def _given_file(name: str, pretrained: str, cache_dir: str | Path | None) -> Path:
    path_like = pretrained.startswith(SCHEMES) or Path(pretrained).suffix or '/' in pretrained
    if path_like or Path(pretrained).exists():
        return weight_file(resolve(pretrained, cache_dir=cache_dir))
    known = tags.list_pretrained_tags_by_model(name)
    raise UnknownModelError(
        f"open_clip has no weights '{pretrained}' for {name}, nor is it a file; {nearest(pretrained, known)}"
    )


def _download(name: str, tag: str, entry: dict[str, Any], cache_dir: str | Path | None) -> Path:
    prefer_hub = _hub_has_tag(tag, entry)
    where = entry.get('hf_hub') if prefer_hub and entry.get('hf_hub') else entry.get('url')
    try:
        if 'file' not in entry and not _is_here_or_reachable(entry, prefer_hub, cache_dir):
            raise FileNotFoundError('there is no network')
        folder = None if cache_dir is None else str(cache_dir)
        return Path(tags.download_pretrained(entry, prefer_hf_hub=prefer_hub, cache_dir=folder))
    except Exception as error:
        raise FileNotFoundError(
            f"the weights '{tag}' of {name} are not on this machine and could not be fetched from {where} ({error}). "
            f"Without a network, name a file in place of the tag: load_clip('{name}', 'weights.safetensors', "
            f"tag='{tag}'), pretrained='FILE' in a config, --pretrained FILE (denseclip segment), --weights FILE "
            '(denseclip anomaly).'
        ) from error


def _is_here_or_reachable(entry: Mapping[str, Any], prefer_hub: bool, cache_dir: str | Path | None) -> bool:
    """Whether asking for weights can end well, without the many tries of the downloader where it cannot."""
    if not (prefer_hub and entry.get('hf_hub')):
        place = Path(cache_dir or '~/.cache/clip').expanduser() / Path(entry['url']).name
        return place.is_file() or reachable(entry['url'])
    repository, _, file = entry['hf_hub'].rpartition('/')
    return is_cached(repository, file, cache_dir) or hub_reachable()


def _hub_has_tag(tag: str, entry: Mapping[str, Any]) -> bool:
    """Whether the hub's folder is of the tag's epoch; else the release file is taken.

    open_clip 3.3 lists the folder of epoch 31 under ``laion400m_e32`` of ViT-B-16-plus-240, AnoVL's tower.
    """
    wanted = re.search(r'_e\d+$', tag)
    hub = re.search(r'_e\d+', entry.get('hf_hub') or '')
    return not entry.get('url') or wanted is None or hub is None or wanted.group() == hub.group()
