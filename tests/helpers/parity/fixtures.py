"""Golden fixtures: numbers of the authors' code on small random models, with their own sizes and tolerances."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

DEFAULT_ROOT = Path(__file__).parents[2] / 'golden' / 'data'


def golden_roots() -> list[Path]:
    """Folders of ``$GOLDEN_DIR``, separated as in ``$PATH``; without it the repository's own copy.

    Raises:
        FileNotFoundError: If one of them is no folder.
    """
    roots = [Path(root) for root in os.environ.get('GOLDEN_DIR', '').split(os.pathsep) if root] or [DEFAULT_ROOT]
    for root in roots:
        if not root.is_dir():
            raise FileNotFoundError(f"$GOLDEN_DIR: '{root}' is no folder of fixtures")
    return roots


@dataclass
class Fixture:
    """One fixture. ``expect`` compares and remembers; ``forgotten`` names what was never compared."""

    method: str
    name: str
    manifest: dict[str, Any]
    tensor_file: Path | None = None
    compared: set[str] = field(default_factory=set)

    @property
    def id(self) -> str:
        return f'{self.method}/{self.name}'

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        return load_file(str(self.tensor_file)) if self.tensor_file else {}

    @property
    def config(self) -> dict[str, Any]:
        return self.manifest['config']

    def has(self, name: str) -> bool:
        return name in self.tensors

    def input(self, name: str) -> Tensor:
        """Input by name; images stored as ``*_u8`` are decoded as the manifest says: ``(u8 - 128) / 64``."""
        if f'in.{name}_u8' in self.tensors:
            return (self.tensors[f'in.{name}_u8'].float() - 128) / 64
        return self.tensors[f'in.{name}']

    def inputs(self, stem: str) -> Iterator[tuple[int, Tensor]]:
        """``stem0``, ``stem1`` ... as far as they go."""
        index = 0
        while self.has(f'in.{stem}{index}') or self.has(f'in.{stem}{index}_u8'):
            yield index, self.input(f'{stem}{index}')
            index += 1

    def state(self, prefix: str = '') -> dict[str, Tensor]:
        """Weights under the authors' names, each with ``prefix``; sparse rows are put back into full tables."""
        state = {k.removeprefix('sd.'): v for k, v in self.tensors.items() if k.startswith('sd.')}
        for key, spec in self.manifest.get('sparse_rows', {}).items():
            full = torch.full(spec['full_shape'], spec['fill'])
            full[self.tensors[f'sdrows.{key}.index']] = self.tensors[f'sdrows.{key}.value']
            state[key] = full
        return {prefix + key: value for key, value in state.items()}

    def sibling(self, kind: str) -> Fixture:
        """The fixture of shared weights of this kind that the manifest's ``sd_from`` names."""
        listed = [entry.split()[0] for entry in self.manifest.get('sd_from', ())]
        name = next(entry for entry in listed if entry.startswith(kind))
        assert self.tensor_file is not None
        folder = self.tensor_file.parent
        flat = folder / f'{name}.manifest.json'
        path = flat if flat.is_file() else folder.parent / name / 'manifest.json'
        tensors = flat.with_name(f'{name}.safetensors') if path is flat else path.with_name('tensors.safetensors')
        return Fixture(self.method, name, json.loads(path.read_text(encoding='utf-8')), tensors)

    def outputs(self, pattern: str) -> Iterator[re.Match[str]]:
        """Names of expected results (without ``out.``) that match a regular expression completely."""
        for key in self.tensors:
            if key.startswith('out.') and (match := re.fullmatch(pattern, key.removeprefix('out.'))):
                yield match

    def expect(self, name: str, value: Tensor) -> None:
        """Compare a result with ``out.<name>`` at the manifest's tolerance."""
        key = f'out.{name}'
        reference = self.tensors[key]
        value = value.detach()
        if reference.numel() == 1 and value.numel() == 1:
            value = value.reshape(reference.shape)
        assert value.shape == reference.shape, (
            f'{self.id} {key}: shape {tuple(value.shape)} != {tuple(reference.shape)}'
        )
        problem = compare(value, reference, self.tolerance(key))
        assert problem is None, f'{self.id} {key}: {problem}'
        self.compared.add(key)

    def tolerance(self, key: str) -> Any:
        """What a manifest allows for a tensor: listed with the tensor itself, or in a table for all of them."""
        listed = self.manifest.get('tensors', {}).get(key)
        if isinstance(listed, dict) and 'atol' in listed:
            return listed
        return tolerance_of(self.manifest.get('tolerance'), key)

    def forgotten(self) -> list[str]:
        """Expected results that no comparison has touched."""
        return sorted(k for k in self.tensors if k.startswith('out.') and k not in self.compared)


def tolerance_of(table: Any, key: str) -> Any:
    """Tolerance of a tensor: the longest matching prefix wins, then the last name component, then the table itself."""
    if not isinstance(table, dict):
        return table
    prefixes = [p for p in table if p.startswith('out.') and key.startswith(p)]
    last = key.rsplit('.', 1)[-1]
    if last in table and not isinstance(table[last], (int, float)):
        return table[last]
    return table[max(prefixes, key=len)] if prefixes else table


def compare(value: Tensor, reference: Tensor, tolerance: Any) -> str | None:
    """What is wrong with ``value``, or None.

    Known forms: ``{'rtol', 'atol'}``, ``{'max_abs_diff_over_max_abs_ref'}``, ``'exact'``, ``'allow <=X% ...'``.
    """
    if isinstance(tolerance, str):
        allowed = re.match(r'allow <=\s*([\d.]+)%', tolerance)
        limit = float(allowed.group(1)) / 100 if allowed else 0.0
        assert allowed or tolerance == 'exact', f'unknown tolerance {tolerance!r}'
        share = (value != reference).float().mean().item()
        return f'{share:.2%} differ, allowed {limit:.2%}' if share > limit else None
    value, reference = value.double(), reference.double()
    difference = (value - reference).abs()
    if 'max_abs_diff_over_max_abs_ref' in tolerance:
        limit = tolerance['max_abs_diff_over_max_abs_ref']
        ratio = (difference.max() / reference.abs().max().clamp_min(1e-30)).item()
        return f'largest difference / largest value {ratio:.2e} > {limit:.2e}' if not ratio <= limit else None
    bound = tolerance.get('atol', 0.0) + tolerance.get('rtol', 0.0) * reference.abs()
    if bool((difference <= bound).all()):
        return None
    worst = (difference - bound).argmax()
    return f'differs by {difference.flatten()[worst]:.3e} where {bound.flatten()[worst]:.3e} is allowed'


def method_folders(root: Path | None = None) -> list[Path]:
    """The folders of a root, one per method; of methods that ``$GOLDEN_DIR`` does not have, the repository's own.

    A method may lie in several folders of ``$GOLDEN_DIR``: all of them count.
    """
    roots = [root] if root is not None else golden_roots()
    found = [folder for each in roots for folder in each.iterdir() if folder.is_dir()]
    there = {folder.name for folder in found}
    own = [] if root is not None else [f for f in DEFAULT_ROOT.iterdir() if f.is_dir() and f.name not in there]
    return sorted([*found, *own], key=lambda folder: (folder.name, folder))


def discover(root: Path | None = None) -> list[Fixture]:
    """All fixtures under a root: ``method/NAME/manifest.json``, ``method/NAME.manifest.json`` and plain JSON files."""
    found = []
    for folder in method_folders(root):
        for path in sorted(folder.rglob('*.json')):
            parts = path.relative_to(folder).parts
            if path.name == 'manifest.json':
                name, tensors = '/'.join(parts[:-1]), path.with_name('tensors.safetensors')
            elif path.name.endswith('.manifest.json'):
                stem = path.name.removesuffix('.manifest.json')
                name, tensors = '/'.join([*parts[:-1], stem]), path.with_name(f'{stem}.safetensors')
            else:
                name, tensors = '/'.join([*parts[:-1], path.stem]), path.with_suffix('.none')
            manifest = json.loads(path.read_text(encoding='utf-8'))
            found.append(Fixture(folder.name, name, manifest, tensors if tensors.is_file() else None))
    return found
