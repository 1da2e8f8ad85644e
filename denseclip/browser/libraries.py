"""What the page loads beside its own files: onnxruntime-web and the tokenizers, from npm, pinned with their sums."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from denseclip.apis.errors import UserError
from denseclip.files.scratch import ScratchFolder

PAGE = Path(__file__).parent / 'page'
LISTS = ('package.json', 'package-lock.json')
_SECONDS = 600
FILES: Mapping[str, str] = MappingProxyType(
    {
        'ort.wasm.bundle.min.mjs': 'onnxruntime-web/dist/ort.wasm.bundle.min.mjs',
        'ort-wasm-simd-threaded.wasm': 'onnxruntime-web/dist/ort-wasm-simd-threaded.wasm',
        'tokenizers.min.mjs': '@huggingface/tokenizers/dist/tokenizers.min.mjs',
    }
)
"""Name in the page's folder ``lib`` to the place below ``node_modules``."""
LICENCES = (
    'onnxruntime-web: MIT licence, copyright Microsoft Corporation; it includes parts under other licences, see\n'
    'ThirdPartyNotices.txt of https://github.com/microsoft/onnxruntime.\n'
    '@huggingface/tokenizers: Apache-2.0, copyright Hugging Face.\n'
)


def fetch_libraries(parent: Path) -> dict[str, bytes]:
    """Install them with npm into a folder that is removed, and read what the page needs.

    npm compares each package with the sum in ``package-lock.json``; no script of a package is run.

    Args:
        parent: Where the folder for the time of the work is made.

    Raises:
        UserError: If there is no npm, or it fails.
    """
    npm = shutil.which('npm')
    if npm is None:
        raise UserError(
            'npm is not installed, which fetches onnxruntime-web; install Node.js, or name a folder node_modules '
            'that holds onnxruntime-web and @huggingface/tokenizers (--libraries DIR).'
        )
    with ScratchFolder(parent, '.libraries-') as scratch:
        for name in LISTS:
            shutil.copyfile(PAGE / name, scratch.path / name)
        command = [npm, 'ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error']
        try:
            done = subprocess.run(command, cwd=scratch.path, capture_output=True, text=True, timeout=_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise UserError(f'npm has not fetched onnxruntime-web within {_SECONDS} s; try again.') from error
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            raise UserError(f'npm cannot fetch onnxruntime-web: {" ".join(lines[:3]):.300}')
        return read_libraries(scratch.path / 'node_modules')


def read_libraries(folder: Path) -> dict[str, bytes]:
    """The files of a folder ``node_modules``, by their names in the page.

    Raises:
        UserError: If one is missing.
    """
    found = {}
    for name, place in FILES.items():
        try:
            found[name] = (folder / place).read_bytes()
        except OSError as error:
            raise UserError(f"'{folder / place}' cannot be read: {error.strerror or error}.") from error
    return found
