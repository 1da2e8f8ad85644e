"""Whether there is a network at all, asked before anything waits for it."""

from __future__ import annotations

import socket
import threading
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

_TIMEOUT = 3.0  # seconds
_VALID = 30.0  # seconds that an answer is good for
_answers: dict[str, tuple[float, bool]] = {}


def hub_reachable() -> bool:
    """Whether the Hugging Face hub can be asked: it is not switched off (``HF_HUB_OFFLINE``) and answers a connection.

    The hub's own client tries five times, for about a minute, before it says that there is no network.
    """
    from huggingface_hub import constants

    return not constants.is_offline_mode() and reachable(constants.ENDPOINT)


def reachable(url: str) -> bool:
    """Whether the host of a URL, or the proxy on the way to it, takes a connection within three seconds."""
    target = _first_host(url)
    known = _answers.get(target)
    if known is not None and time.monotonic() - known[0] < _VALID:
        return known[1]
    found: list[bool] = []
    # Looking up a name has no time limit of its own.
    seeker = threading.Thread(target=lambda: found.append(_connects(target)), daemon=True)
    seeker.start()
    seeker.join(2 * _TIMEOUT)
    answer = bool(found and found[0])
    _answers[target] = (time.monotonic(), answer)
    return answer


def _first_host(url: str) -> str:
    """URL of the proxy that requests go through, or the URL itself."""
    parts = urlsplit(url)
    proxies = urllib.request.getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get('all')
    if proxy and not urllib.request.proxy_bypass(parts.hostname or ''):
        return proxy if '://' in proxy else f'http://{proxy}'
    return url


def _connects(url: str) -> bool:
    parts = urlsplit(url)
    try:
        port = parts.port or (443 if parts.scheme == 'https' else 80)
        with socket.create_connection((parts.hostname or '', port), timeout=_TIMEOUT):
            return True
    except (OSError, ValueError):
        return False


def is_cached(repository: str, file: str, cache_dir: str | Path | None = None) -> bool:
    """Whether the hub's cache holds a weight file of a repository.

    Args:
        repository: ``org/name``.
        file: Its name; empty for open_clip's usual names. A safetensors file of the same stem counts.
        cache_dir: The cache; None is the hub's own.
    """
    from huggingface_hub import try_to_load_from_cache

    stems = [Path(file).stem] if file else ['open_clip_pytorch_model', 'open_clip_model']
    names = [file, *(f'{stem}{suffix}' for stem in stems for suffix in ('.safetensors', '.bin'))]
    return any(isinstance(try_to_load_from_cache(repository, n, cache_dir=cache_dir), str) for n in names if n)
