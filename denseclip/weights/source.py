"""Turn the name of a weight source into a path on this machine.

=========================  =================================================================
``some/file.safetensors``  a file or folder
``local-dir:DIR``          a folder with ``open_clip_config.json`` and weights
``hf-hub:org/name[@rev]``  a snapshot in the Hugging Face hub cache; fetched when online, found there when offline
``package:module/path``    a file or folder inside an installed Python package, found without importing it
``https://...``            a file, fetched once; ``#sha256=DIGITS`` behind it, or digits in its name, are its sum
=========================  =================================================================

A path that does not exist here and begins with ``checkpoints/`` is looked for among the files that come with the
package, so that shipped configs work without a checkout.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path, PurePosixPath

from denseclip.compat.addresses import fetched, is_address
from denseclip.files.shipped import here_or_shipped

from .errors import WeightFileError
from .hub import hub_reachable
from .io import WEIGHT_SUFFIXES
from .shards import folder_index, shard_names

SCHEMES = ('local-dir:', 'hf-hub:', 'package:')
_PREFERRED = (
    'open_clip_model.safetensors',
    'open_clip_pytorch_model.safetensors',
    'model.safetensors',
    'open_clip_pytorch_model.bin',
    'pytorch_model.bin',
)


def resolve(source: str | Path, *, cache_dir: str | Path | None = None) -> Path:
    """Path of a weight source.

    Args:
        source: One of the forms in the module's table.
        cache_dir: Hub cache folder; default is Hugging Face's own (``HF_HUB_CACHE``).

    Returns:
        An existing file or folder.

    Raises:
        FileNotFoundError: If it is not there; the message says what to type.
        ValueError: If the name after a scheme is empty or leaves the package.
        denseclip.files.download.DownloadError: An address cannot be fetched, or gives another file than it names.
    """
    text = str(source)
    if is_address(text):
        return fetched(text)
    scheme, _, rest = text.partition(':')
    if f'{scheme}:' in SCHEMES:
        if not rest:
            raise ValueError(f"nothing follows '{scheme}:'; write for example {_example(scheme)}.")
        if scheme == 'hf-hub':
            return _hub_snapshot(rest, cache_dir)
        return _package_path(rest) if scheme == 'package' else _local_dir(rest)
    path = here_or_shipped(text)
    if not path.exists():
        raise FileNotFoundError(f"'{text}' does not exist; give a file, a folder, or one of {', '.join(SCHEMES)}...")
    return path


def _example(scheme: str) -> str:
    examples = {
        'hf-hub': 'hf-hub:laion/CLIP-ViT-B-16-laion2B-s34B-b88K',
        'package': 'package:some_module/file.safetensors',
    }
    return f"'{examples.get(scheme, 'local-dir:checkpoints/my-clip')}'"


def _local_dir(folder: str) -> Path:
    path = here_or_shipped(folder)
    if not path.is_dir():
        raise FileNotFoundError(
            f"'local-dir:{folder}': no such folder; it should hold open_clip_config.json and weights."
        )
    return path


def _package_path(name: str) -> Path:
    module, _, inner = name.partition('/')
    if '..' in PurePosixPath(inner).parts or not module.isidentifier():
        raise ValueError(f"'package:{name}': write 'package:module/path/inside/it', without '..'.")
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(
            f"'package:{name}': no Python package '{module}' is installed; pip install {_pip_name(module)}."
        )
    for location in spec.submodule_search_locations:
        path = Path(location) / inner
        if path.exists():
            return path
    raise FileNotFoundError(f"'package:{name}': package '{module}' is installed but holds no '{inner}'.")


def _pip_name(module: str) -> str:
    return module.replace('_', '-')


def _hub_snapshot(name: str, cache_dir: str | Path | None) -> Path:
    """Folder of a hub repository with its JSON files and one weight file; nothing more is ever downloaded."""
    from huggingface_hub import hf_hub_download, snapshot_download

    repository, _, revision = name.partition('@')
    last: Exception | None = None
    at = revision or None
    try:
        text = ['*.json', '*.txt', '*.model']
        local = not hub_reachable()
        folder = Path(
            snapshot_download(repository, revision=at, cache_dir=cache_dir, allow_patterns=text, local_files_only=local)
        )
    except Exception as error:  # the hub raises many unrelated types; all of them mean: not to be had
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FileNotFoundError(
            f"'hf-hub:{name}' is neither in the hub cache ({cache_dir or 'default, see HF_HUB_CACHE'}) nor reachable: "
            f"{reason} Online, run 'hf download {repository}'; offline, copy the snapshot and write 'local-dir:FOLDER'."
        ) from error
    index = folder_index(folder)
    if index is not None and not any(file.name in _PREFERRED for file in _candidates(folder)):
        _fetch_shards(repository, at, cache_dir, index)
        return folder
    held = _candidates(folder)
    if any(file.name in _PREFERRED or file.suffix == '.safetensors' for file in held):
        return folder
    # Beside weights of another name the repository may have safetensors, which are for others than its own code.
    for file in (name for name in _PREFERRED if not held or name.endswith('.safetensors')):
        try:
            hf_hub_download(repository, file, revision=at, cache_dir=cache_dir, local_files_only=local)
        except Exception as error:  # this name is not in the repository; the next may be
            last = error
            continue
        return folder
    if held:
        return folder
    raise FileNotFoundError(f"'hf-hub:{name}': the repository has none of {', '.join(_PREFERRED)} ({last}).")


def _fetch_shards(repository: str, revision: str | None, cache_dir: str | Path | None, index: Path) -> None:
    from huggingface_hub import hf_hub_download

    for shard in shard_names(index):
        if not (index.parent / shard).is_file():
            try:
                local = not hub_reachable()
                hf_hub_download(repository, shard, revision=revision, cache_dir=cache_dir, local_files_only=local)
            except Exception as error:  # the hub raises many unrelated types; all of them mean: not to be had
                raise FileNotFoundError(
                    f"'hf-hub:{repository}': its shard {shard} is neither in the hub cache nor reachable ({error})."
                ) from error


def _candidates(folder: Path) -> list[Path]:
    found = sorted(p for p in folder.iterdir() if p.suffix in WEIGHT_SUFFIXES and p.is_file())
    rank = {name: place for place, name in enumerate(_PREFERRED)}
    return sorted(found, key=lambda p: (rank.get(p.name, len(rank)), p.suffix != '.safetensors'))


def weight_file(path: str | Path) -> Path:
    """The weight file meant by a path: itself, or in a folder the preferred one (safetensors first).

    Of weights in several files it is their index, or any of them: each stands for all, see :func:`read_checkpoint`.

    Raises:
        WeightFileError: If a folder holds no weight file.
    """
    path = Path(path)
    if not path.is_dir():
        return path
    found = _candidates(path)
    index = folder_index(path)
    if index is not None and not any(file.name in _PREFERRED for file in found):
        return index
    if not found:
        raise WeightFileError(f"folder '{path}' holds no weight file ({', '.join(WEIGHT_SUFFIXES)}).")
    return found[0]
