"""``denseclip doctor``: what is installed, whether it fits together, and what to type where it does not."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TextIO

from packaging.requirements import Requirement as PipRequirement

from denseclip.compat.versions import (
    CORE,
    ONEDL,
    OPTIONAL,
    PYTHON,
    UPSTREAM,
    Requirement,
    host_stack,
    installed_version,
    runtime_only,
)

# The packages themselves import almost nothing; these modules fail when something is wrong.
_DEEP_MODULES = {'mmengine': 'mmengine.runner', 'mmcv': 'mmcv.ops', 'mmseg': 'mmseg.models', 'mmdet': 'mmdet.models'}


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        level: ``ok``; ``note`` for what is only slower or unavailable; ``problem`` for what makes the suite unusable.
        text: What was found.
        remedy: What to type; empty when there is nothing to do.
    """

    level: str
    text: str
    remedy: str = ''

    def __str__(self) -> str:
        return f'{self.level:8}{self.text}' + (f'  ->  {self.remedy}' if self.remedy else '')


def run_doctor(stream: TextIO | None = None) -> int:
    """Examine the installation and print a report.

    Args:
        stream: Where to print; standard output by default.

    Returns:
        0 when the suite is usable, 1 otherwise.
    """
    out = stream or sys.stdout
    problems = 0
    for title, check in CHECKS.items():
        out.write(f'{title}\n')
        for finding in _guarded(check):
            out.write(f'  {finding}\n')
            problems += finding.level == 'problem'
    usable = 'denseclip is usable' + (', with exported models (--runtime)' if runtime_only() else '')
    out.write(f'{problems} problem{"s" * (problems != 1)} found\n' if problems else f'{usable}\n')
    return int(problems > 0)


def check_python() -> Iterator[Finding]:
    """The interpreter."""
    version = platform.python_version()
    text = f'python {version} ({PYTHON}) on {platform.system()} {platform.machine()}'
    if PYTHON.contains(version, prereleases=True):
        yield Finding('ok', text)
    else:
        yield Finding('problem', text, "create an environment with a supported Python, e.g. 'python3.12 -m venv ENV'")


def check_core() -> Iterator[Finding]:
    """The packages that everything needs, and whether torch and torchvision are a pair."""
    yield from _versions(CORE)
    yield from _torch_pair()


def check_host_stack() -> Iterator[Finding]:
    """The OpenMMLab packages: versions, families that overwrite each other, and whether they can be imported."""
    stack = host_stack()
    yield from _versions(stack)
    clashes = list(_clashes())
    yield from clashes
    for requirement in stack:
        if requirement.installed and not clashes:
            yield from _importable(requirement)


def check_operators() -> Iterator[Finding]:
    """Mmcv's operators: the compiled extension or the suite's own."""
    if find_spec('mmcv') is None:
        return
    import torch
    from mmcv.ops import nms

    extension = importlib.import_module('mmcv._ext')
    fallback = getattr(extension, 'IS_DENSECLIP_FALLBACK', False) is True
    origin = 'denseclip.compat (PyTorch and torchvision)' if fallback else f'compiled, {extension.__file__}'
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]], dtype=torch.float32, device='cpu')
    kept = nms(boxes, boxes.new_tensor([0.5, 0.9, 0.1]), 0.5)[1].tolist()
    if kept == [1, 2]:
        yield Finding('ok', f'mmcv operators: {origin}')
    else:
        remedy = '' if fallback else f'rebuild mmcv against torch {torch.__version__}, or {_reinstall("mmcv-lite")}'
        yield Finding('problem', f'mmcv operators ({origin}) give wrong results: nms kept {kept}, not [1, 2]', remedy)
    pkg_resources = importlib.import_module('pkg_resources')
    inside = Path(str(pkg_resources.__file__)).name == 'pkg_resources_fallback.py'
    yield Finding('ok', f'pkg_resources: {"denseclip.compat" if inside else "setuptools"}')


def check_devices() -> Iterator[Finding]:
    """Processors and the floating-point types that PyTorch computes in."""
    if installed_version('torch') is None:
        return
    import torch

    yield Finding('ok', f'cpu: {torch.get_num_threads()} threads, {_types("cpu")}')
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        memory = f'{properties.total_memory / 2**30:.0f} GiB'
        yield Finding('ok', f'cuda:{index}: {properties.name}, {memory}, {_types(f"cuda:{index}")}')
    if torch.backends.mps.is_available():
        yield Finding('ok', f'mps: {_types("mps")}')
    if torch.version.cuda and not torch.cuda.is_available():
        remedy = "update the NVIDIA driver, or install a torch built for its CUDA version (see 'nvidia-smi')"
        remedy = remedy if shutil.which('nvidia-smi') else ''
        yield Finding('note', f'torch is built for CUDA {torch.version.cuda} but finds no GPU; the CPU is used', remedy)


def check_extras() -> Iterator[Finding]:
    """Packages that some features need."""
    for requirement in OPTIONAL:
        if requirement.supported:
            yield Finding('ok', f'{requirement.name} {requirement.installed}')
        else:
            state = (
                f'{requirement.installed}, needs {requirement.versions}' if requirement.installed else 'not installed'
            )
            yield Finding('note', f'{requirement.name} {state} ({requirement.purpose})', requirement.install_command)


def check_cache() -> Iterator[Finding]:
    """The folder where text embeddings of models in PyTorch are kept between runs."""
    if installed_version('torch') is None:
        return
    from denseclip.clip.text_cache import default_cache_dir

    folder = default_cache_dir()
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if existing.is_dir() and os.access(existing, os.W_OK | os.X_OK):
        yield Finding('ok', f'text cache: {folder}')
    else:
        yield Finding(
            'note',
            f'text cache {folder} cannot be written; class names are encoded anew in every run',
            'export DENSECLIP_CACHE=FOLDER with a folder of your own',
        )


CHECKS: dict[str, Callable[[], Iterable[Finding]]] = {
    'interpreter': check_python,
    'core packages': check_core,
    'OpenMMLab packages': check_host_stack,
    'operators': check_operators,
    'devices': check_devices,
    'optional packages': check_extras,
    'files': check_cache,
}


def _guarded(check: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """The findings of a check; if it fails, that is one more. A broken installation can fail anywhere."""
    try:
        yield from check()
    except Exception as error:
        yield Finding('problem', f'{check.__name__} failed: {_summary(error)}', _remedy_for(error))


def _versions(requirements: Iterable[Requirement]) -> Iterator[Finding]:
    for requirement in requirements:
        found = requirement.installed
        wanted = f' ({requirement.versions})' if requirement.versions else ''
        if requirement.supported:
            yield Finding('ok', f'{requirement.name} {found}{wanted}')
        elif found is None:
            unneeded = requirement.extra and runtime_only()  # exported models do without
            text = f'{requirement.name} is not installed{wanted}'
            yield Finding('note' if unneeded else 'problem', text, requirement.install_command)
        else:
            text = f'{requirement.name} {found} is not supported, needs {requirement.versions}'
            yield Finding('problem', text, f"pip install '{requirement.name}{requirement.versions}'")


def _torch_pair() -> Iterator[Finding]:
    """The operators of torchvision are built for one release of torch and may fail with any other."""
    torch, torchvision = installed_version('torch'), installed_version('torchvision')
    if torch is None or torchvision is None:
        return
    needs = [PipRequirement(line) for line in metadata.requires('torchvision') or ()]
    wanted = next((need for need in needs if need.name == 'torch'), None)
    if wanted and not wanted.specifier.contains(torch.split('+')[0], prereleases=True):
        text = f'torchvision {torchvision} belongs to torch{wanted.specifier}, but torch {torch} is installed'
        yield Finding('problem', text, f"pip install 'torch{wanted.specifier}' 'torchvision=={torchvision}'")


def _clashes() -> Iterator[Finding]:
    """Distributions that write the same folders: pip reports no conflict, and one silently overwrites the other."""
    upstream = [
        name for name in ('mmengine', 'mmcv', 'mmcv-lite', 'mmsegmentation', 'mmdet') if installed_version(name)
    ]
    fork = [requirement.name for requirement in ONEDL if requirement.installed]
    if fork and upstream:
        yield Finding(
            'problem',
            f'{", ".join(upstream)} and {", ".join(fork)} overwrite each other',
            f"pip uninstall -y {' '.join(upstream + fork)} && pip install 'denseclip-suite[mm]'",
        )
    elif {'mmcv', 'mmcv-lite'} <= set(upstream):
        text = 'mmcv and mmcv-lite overwrite each other'
        yield Finding('problem', text, f"pip uninstall -y mmcv mmcv-lite && pip install '{_pinned('mmcv-lite')}'")


def _importable(requirement: Requirement) -> Iterator[Finding]:
    spec = find_spec(requirement.module)
    if spec is None or spec.origin is None:  # an uninstalled twin leaves an empty folder, or takes the files with it
        text = f'{requirement.name} is listed as installed but its module {requirement.module!r} has no files'
        yield Finding('problem', text, _reinstall(requirement.name))
        return
    module = _DEEP_MODULES[requirement.module]
    try:
        importlib.import_module(module)
    except Exception as error:
        yield Finding('problem', f'import {module} fails: {_summary(error)}', _remedy_for(error))


def _types(device: str) -> str:
    """Which floating-point types a device multiplies matrices in, found by doing it."""
    import torch

    works = []
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        try:
            ones = torch.ones(2, 2, dtype=dtype, device=device)
            correct = bool((ones @ ones == 2).all())
        except RuntimeError:
            correct = False
        if correct:
            works.append(str(dtype).removeprefix('torch.'))
    return ' '.join(works)


def _remedy_for(error: BaseException) -> str:
    message = str(error)
    if 'libGL' in message or 'libgthread' in message or 'libxcb' in message:  # OpenCV on a machine without a display
        return 'pip uninstall -y opencv-python && pip install opencv-python-headless, or apt-get install libgl1'
    if isinstance(error, ModuleNotFoundError) and error.name:
        known = {requirement.module: requirement for requirement in (*CORE, *UPSTREAM, *OPTIONAL)}
        requirement = known.get(error.name.split('.')[0])
        return requirement.install_command if requirement else f'pip install {error.name.split(".")[0]}'
    # These alone: with their dependencies torch would be exchanged, and the suite itself comes from a checkout.
    return _reinstall(*(requirement.name for requirement in host_stack()))


def _summary(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f'{type(error).__name__}: {lines[0] if lines else ""}'


def _pinned(name: str) -> str:
    versions = next((requirement.versions for requirement in (*UPSTREAM, *ONEDL) if requirement.name == name), '')
    return f'{name}{versions}'


def _reinstall(*names: str) -> str:
    pinned = ' '.join(f"'{_pinned(name)}'" for name in names)
    return f'pip install --force-reinstall --no-deps {pinned}'
