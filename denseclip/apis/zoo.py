"""Models of the zoo (``checkpoints/model_zoo.yml``): which there are, and their files on this machine."""

from __future__ import annotations

import difflib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from denseclip.apis.bundled import package_root, read_zoo
from denseclip.apis.errors import UserError
from denseclip.files.atomic import replacing
from denseclip.files.download import Fetched, digest, fetch

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
    """

    name: str
    config: str
    file: str | None
    url: str | None
    sha256: str | None
    licence: str
    source: str

    @property
    def state(self) -> str:
        """Where the weights are, in a word or two."""
        return 'bundled' if self.file else 'to download' if self.url else 'not published as a file'


def zoo_models() -> dict[str, ZooModel]:
    """All models that have a config, and the towers that come with the package, by name."""
    zoo = read_zoo()
    towers = [entry for entry in zoo.get('towers', []) if entry.get('file')]
    return {
        entry['name']: ZooModel(
            entry['name'],
            entry.get('config') or '',
            entry.get('file'),
            entry.get('url'),
            entry.get('sha256'),
            str(entry.get('licence') or ''),
            str((entry.get('expected') or {}).get('source') or entry.get('source') or ''),
        )
        for entry in [*zoo['models'], *towers]
    }


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
    progress: Callable[[int, int | None], None] | None = None,
) -> Fetched:
    """Weights of the zoo as a file on this machine: fetched once, checked always.

    Args:
        name: Of the model.
        out: File to make. Default: :func:`default_target`; bundled weights stay where they are.
        force: Fetch anew, over a file that is there.
        progress: See :func:`denseclip.files.download.fetch`.

    Returns:
        The file.

    Raises:
        UserError: There is no such model, its weights are published nowhere, or another file is in the way.
        denseclip.files.download.DownloadError: It cannot be fetched, or is not the file that it should be.
    """
    model = find_model(name)
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


def _bundled(model: ZooModel, out: str | Path | None, force: bool) -> Fetched:
    """Weights that come with the package, checked; copied only if that is asked for."""
    path = package_root() / str(model.file)
    if not path.is_file():
        raise UserError(f"'{model.file}' is missing from '{package_root()}': install the package again.")
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
