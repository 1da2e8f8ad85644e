"""Weights that MMEngine fetches by an address: kept whole, compared with their sum, and read as data.

MMEngine reads ``https://``, ``torchvision://`` and ``open-mmlab://`` names with torch's ``load_url``, which unpickles
whatever it gets (its ``weights_only`` is off) and compares no sums. What stands here takes its place.
"""

from __future__ import annotations

import hashlib
import re
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urldefrag, urlsplit

from denseclip.files.archives import DamagedArchiveError, require_whole
from denseclip.files.download import SCHEMES, DownloadError, fetch

# torchvision, OpenMMLab and timm put the first digits of the sha256 behind the name; a date is not one.
_SUM_IN_NAME = re.compile(r'-(?!20\d{6}\.)([0-9a-f]{8,64})\.\w+$')
_WHOLE_SUM = re.compile(r'[0-9a-f]{64}')


def is_address(source: str) -> bool:
    """Whether a source is fetched by its address."""
    return urlsplit(source).scheme in SCHEMES and '://' in source


def expected_sum(url: str) -> str | None:
    """The sha256 that an address itself names, or the beginning of it.

    Args:
        url: An address; ``#sha256=...`` behind it wins over digits in the name (``resnet50-0676ba61.pth``).

    Raises:
        DownloadError: What stands behind ``#sha256=`` is no sum.
    """
    address, fragment = urldefrag(url)
    given = parse_qs(fragment).get('sha256')
    if given:
        if not _WHOLE_SUM.fullmatch(given[-1].lower()):
            raise DownloadError(f"'{url}': sha256= needs the 64 hexadecimal digits of the file's sum.")
        return given[-1].lower()
    found = _SUM_IN_NAME.search(urlsplit(address).path)
    return found.group(1) if found else None


def fetched(url: str, folder: str | Path | None = None) -> Path:
    """The file of an address on this machine: fetched once, by one process, compared with its sum every time.

    Args:
        url: ``https:``, ``http:`` or ``file:``; see :func:`expected_sum`.
        folder: Where files are kept; None is torch's (``TORCH_HOME``).

    Returns:
        The file. A name with a sum in it stands in the folder itself, as torch keeps it; any other in a folder of its
        address, so that equal names from two places are two files.

    Raises:
        DownloadError: It cannot be fetched, or is another file than the address names.
    """
    address, _ = urldefrag(url)
    wanted = expected_sum(url)
    target = _place(address, folder, named=_SUM_IN_NAME.search(urlsplit(address).path) is not None)
    got = fetch(address, target, sha256=wanted, again=False)
    if got.sha256 and not got.checked:
        _tell(f"fetched '{address}', sha256 {got.sha256}; with #sha256={got.sha256} behind the address it is checked.")
    return target


def _place(address: str, folder: str | Path | None, *, named: bool) -> Path:
    import torch

    base = Path(folder) if folder is not None else Path(torch.hub.get_dir()) / 'checkpoints'
    name = PurePosixPath(unquote(urlsplit(address).path)).name or 'weights'
    return base / name if named else base / hashlib.sha256(address.encode()).hexdigest()[:16] / name


def _tell(sentence: str) -> None:
    from mmengine.logging import print_log

    print_log(sentence, logger='current')


def read_address(url: str, model_dir: str | None = None, map_location: Any = None, progress: bool = True) -> Any:
    """Weights of an address, for MMEngine in place of torch's ``load_url``.

    Args:
        url: See :func:`fetched`.
        model_dir: Where files are kept.
        map_location: Tensors are read to the CPU, whatever it says.
        progress: Accepted for compatibility.

    Returns:
        ``state_dict`` and ``meta``; data only.

    Raises:
        DownloadError: See :func:`fetched`.
        denseclip.weights.WeightFileError: The file cannot be read without running what is in it, or is damaged.
    """
    del map_location, progress
    from denseclip.weights import read_checkpoint

    found = read_checkpoint(fetched(url, model_dir))
    return {'state_dict': found.state_dict, 'meta': found.meta}


def install() -> None:
    """Have MMEngine read addresses by :func:`read_address`, and compare local archives with their sums first."""
    checkpoint: Any = import_module('mmengine.runner.checkpoint')
    checkpoint.load_url = read_address
    local = checkpoint.load_from_local

    def load_from_local(filename: str, map_location: Any = None) -> Any:
        """See MMEngine."""
        path = Path(filename).expanduser()
        try:
            if path.is_file():
                require_whole(path)
        except DamagedArchiveError as error:
            raise DamagedArchiveError(f"'{filename}' is damaged ({error}); fetch it again.") from error
        return local(filename, map_location)

    checkpoint.CheckpointLoader.register_scheme(prefixes='', loader=load_from_local, force=True)
