"""Source of the module that answers to ``pkg_resources`` when setuptools no longer ships it (82 and later).

Only the part that mmengine, mmcv, mmseg and mmdet use is here, on top of :mod:`importlib.metadata`.
"""

from __future__ import annotations

from importlib import metadata
from typing import NoReturn

from packaging.requirements import Requirement
from packaging.version import Version
from packaging.version import parse as parse_version

__all__ = [
    'Distribution',
    'DistributionNotFound',
    'VersionConflict',
    'fixup_namespace_packages',
    'get_distribution',
    'parse_version',
    'require',
]


class ResolutionError(Exception):
    """Base of the errors below."""


class DistributionNotFound(ResolutionError):
    """A requested distribution is not installed."""


class VersionConflict(ResolutionError):
    """A requested distribution is installed in a version that does not fit."""


class Distribution:
    """An installed distribution.

    Args:
        distribution: What :mod:`importlib.metadata` knows of it.
    """

    def __init__(self, distribution: metadata.Distribution) -> None:
        self._distribution = distribution
        self.project_name: str = distribution.metadata['Name']
        self.key: str = self.project_name.lower()
        self.version: str = distribution.version
        self.location = str(distribution.locate_file(''))

    @property
    def parsed_version(self) -> Version:
        """The version, comparable."""
        return parse_version(self.version)

    def has_metadata(self, name: str) -> bool:
        """Whether a file of this name lies in the distribution's metadata folder."""
        return self._read(name) is not None

    def get_metadata(self, name: str) -> str:
        """Read a file of the distribution's metadata folder.

        Raises:
            FileNotFoundError: If there is none of this name.
        """
        text = self._read(name)
        if text is None:
            raise FileNotFoundError(f'{self.project_name} {self.version} has no metadata file {name!r}')
        return text

    def _read(self, name: str) -> str | None:
        text = self._distribution.read_text(name)
        if text is None and name == 'top_level.txt':  # optional in wheels, and wheels of other build tools lack it
            packages = {file.parts[0] for file in self._distribution.files or () if file.name == '__init__.py'}
            text = '\n'.join(sorted(package for package in packages if package.isidentifier())) or None
        return text

    def __repr__(self) -> str:
        return f'{self.project_name} {self.version}'


def get_distribution(dist: str) -> Distribution:
    """Look up an installed distribution.

    Args:
        dist: A requirement such as ``"mmsegmentation"`` or ``"mmcv>=2.0"``.

    Raises:
        DistributionNotFound: If it is not installed.
        VersionConflict: If its version does not fit the requirement.
    """
    requirement = Requirement(dist)
    try:
        found = Distribution(metadata.distribution(requirement.name))
    except metadata.PackageNotFoundError as error:
        raise DistributionNotFound(f"The '{dist}' distribution was not found and is required") from error
    if not requirement.specifier.contains(found.version, prereleases=True):
        raise VersionConflict(f'{found} is installed but {dist} is required')
    return found


def require(*requirements: str) -> list[Distribution]:
    """Look up several distributions; raises as :func:`get_distribution` does."""
    return [get_distribution(requirement) for requirement in requirements]


def fixup_namespace_packages(path_item: str, parent: str | None = None) -> None:
    """Do nothing: the fallback declares no namespace packages whose paths would have to follow ``sys.path``.

    pytest's ``monkeypatch.syspath_prepend`` calls it wherever a module of this name is loaded.
    """


def __getattr__(name: str) -> NoReturn:
    hint = '' if name.startswith('__') else "; install 'setuptools<82' for the complete pkg_resources"
    raise AttributeError(f'the pkg_resources fallback of denseclip has no {name!r}{hint}')
