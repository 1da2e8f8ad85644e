"""Models of the zoo (``checkpoints/model_zoo.yml``): which there are, and their files on this machine."""

from __future__ import annotations

import difflib
import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import yaml

from denseclip.apis.errors import UserError
from denseclip.files.atomic import replacing
from denseclip.files.download import Fetched, digest, fetch
from denseclip.files.progress import Progress
from denseclip.files.shipped import ROOTS, shipped

_ZOO = 'checkpoints/model_zoo.yml'
_Loader: Any = getattr(yaml, 'CSafeLoader', yaml.SafeLoader)  # ten times as fast where PyYAML was built with libyaml
_SUFFIXES = ('.safetensors', '.pth', '.pt')


@dataclass(frozen=True)
class ZooModel:
    """A model of the zoo.

    Attributes:
        name: What to call it.
        config: Config that builds it; empty for what models start from (a CLIP, a DINO).
        file: Weights that come with the package, relative to it; None for those published elsewhere.
        url: Where somebody else publishes them; None if nobody does as a file.
        sha256: Of the file, as far as it is known.
        licence: Of the weights.
        source: Whose they are, or how their score was measured.
        dataset: What it was trained on.
        miou: Expected score in percent on one scale, if there is any.
        tasks: What it gives.
        is_default: Whether it is used where none is named.
        model: Class of the config's model.
    """

    name: str
    config: str
    file: str | None
    url: str | None
    sha256: str | None
    licence: str
    source: str
    dataset: str = ''
    miou: float | None = None
    tasks: tuple[str, ...] = ('semantic',)
    is_default: bool = False
    model: str = ''

    @property
    def state(self) -> str:
        """Where the weights are, in a word or two."""
        return 'bundled' if self.file else 'to download' if self.url else 'not published as a file'


def ours(name: str) -> Path:
    """A file that comes with the package.

    Args:
        name: As in the repository: ``checkpoints/...`` or ``configs/...``.

    Raises:
        UserError: If this copy of the package came without it.
    """
    found = shipped(name)
    if found is None:
        raise UserError(
            f"'{name}' is missing from '{ROOTS[-1]}'. Install the package again, or name a model with --config and "
            '--weights (config=, weights= in Python).'
        )
    return found


def read_zoo() -> dict[str, Any]:
    """The content of ``checkpoints/model_zoo.yml``.

    Raises:
        UserError: See :func:`ours`.
    """
    return yaml.load(ours(_ZOO).read_text(encoding='utf-8'), _Loader)


def zoo_models() -> dict[str, ZooModel]:
    """All models that have a config, and the towers that come with the package, by name."""
    zoo = read_zoo()
    towers = [entry for entry in zoo.get('towers', []) if entry.get('file')]
    return {entry['name']: _model(entry, zoo.get('default')) for entry in [*zoo['models'], *towers]}


def _model(entry: dict[str, Any], default: str | None) -> ZooModel:
    """A model from its entry in the file."""
    expected = entry.get('expected') or {}
    return ZooModel(
        entry['name'],
        entry.get('config') or '',
        entry.get('file'),
        entry.get('url'),
        entry.get('sha256'),
        str(entry.get('licence') or ''),
        str(expected.get('source') or entry.get('source') or ''),
        str(entry.get('dataset') or ''),
        expected.get('ss'),
        tuple(entry.get('tasks', ('semantic',))),
        entry['name'] == default,
        entry.get('model') or '',
    )


def default_model() -> tuple[Path, Path]:
    """Config and weights of the model that the zoo names as default, so that the first command needs no download.

    Raises:
        UserError: If this copy of the package came without them.
    """
    model = next(model for model in zoo_models().values() if model.is_default)
    return ours(model.config), ours(str(model.file))


def find_model(name: str) -> ZooModel:
    """A model of the zoo.

    Raises:
        UserError: There is none of this name; near ones are suggested.
    """
    known = zoo_models()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        hint = f'did you mean {" or ".join(near)}?' if near else 'denseclip download --list shows them.'
        raise UserError(f"the zoo has no model '{name}'; {hint}")
    return known[name]


def default_target(model: ZooModel) -> Path:
    """Where a download goes if nothing else is said: ``checkpoints/NAME.SUFFIX`` below the current folder."""
    suffix = PurePosixPath(urlsplit(model.url or model.file or '').path).suffix
    return Path('checkpoints') / f'{model.name}{suffix if suffix in _SUFFIXES else ".pth"}'


def get_model(
    name: str,
    out: str | Path | None = None,
    *,
    force: bool = False,
    progress: Progress | None = None,
    sha256: str | None = None,
) -> Fetched:
    """Weights of the zoo as a file on this machine: fetched once, checked always.

    Args:
        name: Of the model.
        out: File to make. Default: :func:`default_target`; bundled weights stay where they are.
        force: Fetch anew, over a file that is there.
        progress: See :func:`denseclip.files.download.fetch`.
        sha256: What the file must sum to, where the zoo does not say it.

    Returns:
        The file.

    Raises:
        UserError: There is no such model, its weights are published nowhere, or another file is in the way.
        denseclip.files.download.DownloadError: It cannot be fetched, or is not the file that it should be.
    """
    model = _with_sum(find_model(name), sha256)
    if model.file is not None:
        return _bundled(model, out, force)
    if model.url is None:
        raise UserError(f"the weights of '{name}' are not published as a file ({model.source}).")
    target = Path(out) if out is not None else default_target(model)
    if target.is_file() and not force:
        found = digest(target)
        if model.sha256 is not None and found != model.sha256:
            raise UserError(f"'{target}' is another file (sha256 {found}); choose another --out, or pass --force.")
        return Fetched(target, target.stat().st_size, found, model.sha256 is not None)
    return fetch(model.url, target, sha256=model.sha256, progress=progress)


def _with_sum(model: ZooModel, sha256: str | None) -> ZooModel:
    """A model with the sum that somebody gives; the zoo's own cannot be given away.

    Raises:
        UserError: It is no sum, or another one than the zoo's.
    """
    if sha256 is None:
        return model
    given = sha256.strip().lower()
    if not re.fullmatch('[0-9a-f]{64}', given):
        raise UserError('--sha256 takes the 64 hexadecimal digits of a sum.')
    if model.sha256 not in (None, given):
        raise UserError(f"the zoo says that '{model.name}' sums to {model.sha256}; leave --sha256 out.")
    return replace(model, sha256=given)


def _bundled(model: ZooModel, out: str | Path | None, force: bool) -> Fetched:
    """Weights that come with the package, checked; copied only if that is asked for."""
    path = ours(str(model.file))
    found = digest(path)
    if model.sha256 is not None and found != model.sha256:
        raise UserError(f"'{path}' is damaged (sha256 {found}, not {model.sha256}): install the package again.")
    if out is None:
        return Fetched(path, path.stat().st_size, found, model.sha256 is not None)
    target = Path(out)
    if target.exists() and not force:
        raise UserError(f"'{target}' exists; choose another --out, or pass --force.")
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as partial:
        shutil.copyfile(path, partial)
    return Fetched(target, target.stat().st_size, found, model.sha256 is not None)
