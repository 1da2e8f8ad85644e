"""Models that live in Hugging Face's transformers: found by the ``config.json`` of a folder, never run from one."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from denseclip.clip.folders import TRANSFORMERS, read_configuration
from denseclip.weights import WeightFileError, WeightMismatchError, resolve

PYTHON = (3, 11)
"""The first Python that the extra is for."""
EXTRA = "pip install 'denseclip-suite[sam]'"
PICTURES, PICTURES_AND_WORDS = 'preprocessor_config.json', 'processor_config.json'
_CODE = ('attn_implementation', 'experts_implementation', 'auto_map', 'quantization_config', 'custom_pipelines')


def part_of_transformers(name: str, who: str) -> Any:
    """A class of transformers by name, imported now.

    Args:
        name: Its name.
        who: What needs it, for the message.

    Raises:
        ImportError: If transformers is not installed, or too old to have it.
    """
    try:
        import transformers
    except ImportError as error:
        raise ImportError(f'{who} needs transformers: {_extra()}.') from error
    try:
        return getattr(transformers, name)
    except (AttributeError, ImportError) as error:
        raise ImportError(
            f'{who} needs {name}, which transformers {transformers.__version__} does not have or cannot load '
            f'({error}): {_extra()} brings one that has it.'
        ) from error


def _extra(version: tuple[int, ...] = tuple(sys.version_info[:2])) -> str:
    """What to type; the extra is empty for older Pythons."""
    if version >= PYTHON:
        return EXTRA
    return f'Python {PYTHON[0]}.{PYTHON[1]} or later (this is {version[0]}.{version[1]}) and {EXTRA}'


def folder_of(source: str | Path) -> Path:
    """The folder that a source means, with a ``config.json`` as transformers writes it.

    Args:
        source: A folder, a file in one, or another source of ``denseclip.weights.resolve``.

    Raises:
        FileNotFoundError: If it is not there.
        WeightFileError: If it is no such folder.
    """
    place = resolve(source)
    folder = place if place.is_dir() else place.parent
    if not (folder / TRANSFORMERS).is_file():
        raise WeightFileError(
            f"'{place}' is no model of transformers: give a folder with its {TRANSFORMERS} and *.safetensors, as "
            "save_pretrained() or 'hf download' writes it."
        )
    return folder


def settings_of(folder: Path, kinds: Sequence[str]) -> dict[str, Any]:
    """What the ``config.json`` of a folder says.

    Args:
        folder: See :func:`folder_of`.
        kinds: Values of ``model_type`` that will do.

    Raises:
        WeightFileError: If it cannot be read, or is of another kind.
    """
    content = read_configuration(folder / TRANSFORMERS, 'configuration of a transformers model')
    kind = content.get('model_type')
    if kind not in kinds:
        raise WeightFileError(
            f"'{folder / TRANSFORMERS}' describes a model of the kind {kind!r:.60}; wanted is {' or '.join(kinds)}."
        )
    return content


def sizes_in(content: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Configuration of a model of some kind, which may stand inside that of a larger one; plain data alone.

    Args:
        content: Of a ``config.json``, or a part of it.
        kind: The ``model_type`` that is wanted.
    """
    inner = (value for value in content.values() if isinstance(value, dict) and value.get('model_type') == kind)
    found = content if content.get('model_type') == kind else next(inner, content)
    return _plain(found)


def _plain(value: Any) -> Any:
    """Data without what chooses code: attention from the hub, classes of a repository, other libraries."""
    if isinstance(value, Mapping):
        kept = {key: item for key, item in value.items() if not str(key).startswith('_') and key not in _CODE}
        return {key: _plain(item) for key, item in kept.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def pictures_of(folder: Path) -> dict[str, Any]:
    """What a folder says of its pictures (``image_mean``, ``size`` ...); nothing where it says nothing.

    That is a file of its own, or a part of what the folder says of pictures and words together.
    """
    file, both = folder / PICTURES, folder / PICTURES_AND_WORDS
    if file.is_file():
        return read_configuration(file, 'configuration of pictures')
    found = read_configuration(both, 'configuration of pictures').get('image_processor') if both.is_file() else None
    return found if isinstance(found, dict) else {}


def side_of(size: Any) -> tuple[int, int]:
    """Height and width from transformers' ways of giving a size."""
    if isinstance(size, Mapping):
        if 'height' in size:
            return int(size['height']), int(size['width'])
        longest = int(size.get('longest_edge') or size['shortest_edge'])
        return longest, longest
    return (int(size), int(size)) if isinstance(size, int) else (int(size[0]), int(size[1]))


def pretrained_model(name: str, folder: Path, kinds: Sequence[str], who: str) -> Any:
    """A model with the weights of a folder: safetensors only, all of them, nothing fetched and nothing run.

    Args:
        name: Class of transformers.
        folder: See :func:`folder_of`.
        kinds: See :func:`settings_of`.
        who: What needs it, for messages.

    Raises:
        ImportError: See :func:`part_of_transformers`.
        WeightFileError: If the folder has no safetensors, or they cannot be read.
        WeightMismatchError: If some weights are not among them.
    """
    kind = part_of_transformers(name, who)
    if not any(folder.glob('*.safetensors')):
        raise WeightFileError(
            f"'{folder}' holds no *.safetensors: fetch them into it, or save the model again with save_pretrained()."
        )
    content = settings_of(folder, kinds)
    try:
        sizes = kind.config_class.from_dict(sizes_in(content, kind.config_class.model_type))
        with _quietly():
            model, report = kind.from_pretrained(
                str(folder),
                config=sizes,
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
                dtype=torch.float32,
            )
    except Exception as error:  # transformers raises many unrelated types; all of them mean: not of this kind
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise WeightFileError(f"'{folder}' cannot be read as {name} ({reason:.200}).") from error
    lacking = sorted({*report['missing_keys'], *(str(one[0]) for one in report['mismatched_keys'])})
    if lacking:
        more = ' ...' if len(lacking) > 5 else ''
        raise WeightMismatchError(
            f"the weights in '{folder}' lack {len(lacking)} tensors of {name} or have other shapes "
            f'({", ".join(lacking[:5])}{more}): they belong to another model.'
        )
    return model.eval().requires_grad_(False)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without bars of progress and tables of missing weights: what matters is raised."""
    from transformers.utils import logging

    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()
