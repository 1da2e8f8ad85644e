"""Without a network the answer comes at once."""

from __future__ import annotations

import socket
import time
from typing import Any

import huggingface_hub
import pytest

from denseclip.clip.loading import load_clip
from denseclip.weights import hub


@pytest.fixture(autouse=True)
def online_by_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has switched the network off, but there is none."""
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_OFFLINE', False)
    monkeypatch.setattr(hub, '_answers', {})
    for name in ('HTTPS_PROXY', 'https_proxy', 'ALL_PROXY', 'all_proxy'):
        monkeypatch.delenv(name, raising=False)


def no_route(*_: Any, **__: Any) -> None:
    raise OSError('no route to host')


@pytest.mark.parametrize(('model', 'tag'), [('ViT-B-16', 'openai'), ('ViT-B-16-plus-240', 'laion400m_e32')])
def test_a_tag_fails_at_once(monkeypatch: pytest.MonkeyPatch, model: str, tag: str) -> None:
    """The hub's client tries five times, 46 seconds together, and logs each."""
    monkeypatch.setattr(socket, 'create_connection', no_route)
    start = time.monotonic()
    with pytest.raises(
        FileNotFoundError, match=rf"'{tag}' of {model} are not on this machine.*no network.*tag='{tag}'"
    ):
        load_clip(model, tag)
    assert time.monotonic() - start < 5


def test_a_slow_name_server_does_not_hold_anybody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, '_TIMEOUT', 0.05)
    monkeypatch.setattr(socket, 'create_connection', lambda *_, **__: time.sleep(30))
    start = time.monotonic()
    assert not hub.hub_reachable()
    assert time.monotonic() - start < 5


def test_the_way_leads_through_a_proxy_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def connect(address: Any, timeout: float) -> socket.socket:
        asked.append(address)
        return socket.socket()

    monkeypatch.setattr(socket, 'create_connection', connect)
    assert hub.reachable('https://huggingface.co') and asked == [('huggingface.co', 443)]
    monkeypatch.setenv('HTTPS_PROXY', 'proxy.example:3128')
    assert hub.reachable('https://huggingface.co') and asked[-1] == ('proxy.example', 3128)


def test_an_answer_is_good_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(socket, 'create_connection', lambda *a, **_: asked.append(a) or no_route())
    assert not hub.reachable('https://a.example') and not hub.reachable('https://a.example')
    assert len(asked) == 1


def test_switched_off_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_OFFLINE', True)
    monkeypatch.setattr(socket, 'create_connection', lambda *_, **__: pytest.fail('asked'))
    assert not hub.hub_reachable()
