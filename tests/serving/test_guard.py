"""What stands in front of the application reads no more than it must, and answers so that the sender hears it."""

from __future__ import annotations

import asyncio
import json

import pytest

from denseclip.serving.guard import Guard
from denseclip.serving.limits import Limits
from denseclip.serving.metrics import Metrics
from denseclip.serving.problems import Problem, problem_response


async def reads_all(scope, receive, send):
    try:
        while (await receive()).get('more_body'):
            pass
    except Problem as problem:
        await problem_response(problem.status_code, problem.detail)(scope, receive, send)
        return
    await problem_response(200, 'fine')(scope, receive, send)


def ask(chunks, headers=(), wait=0.0, **limits):
    """Send a body in parts; gives the answer's status and content, and how much was taken."""
    taken, sent = [], []
    parts = iter(chunks)

    async def receive():
        await asyncio.sleep(wait)
        part = next(parts, None)
        if part is None:
            return {'type': 'http.disconnect'}
        taken.append(len(part))
        return {'type': 'http.request', 'body': part, 'more_body': True}

    async def send(message):
        sent.append(message)

    scope = {'type': 'http', 'method': 'POST', 'path': '/segment', 'headers': list(headers)}
    guard = Guard(reads_all, Limits(**limits), Metrics(), None, ('/segment',))
    asyncio.run(guard(scope, receive, send))
    return sent[0]['status'], json.loads(sent[1]['body']), sum(taken), dict(sent[0]['headers'])


def test_a_body_that_grows_beyond_the_limit():
    """A sender that does not say how long its body is; the rest is thrown away, but not without end."""
    status, said, taken, headers = ask((bytes(10_000) for _ in range(10**6)), megabytes=0.1)
    assert status == 413 and '0.1 MB' in said['detail']
    assert 100_000 < taken <= 500_000
    assert headers[b'content-security-policy'].startswith(b"default-src 'none'")


def test_a_body_that_says_that_it_is_too_long():
    status, said, taken, _ = ask([bytes(10)], [(b'content-length', b'200000')], megabytes=0.1)
    assert status == 413 and 'smaller picture' in said['detail'] and taken == 10


def test_a_body_that_takes_too_long():
    status, said, _, _ = ask((bytes(1) for _ in range(100)), wait=0.05, seconds=0.2)
    assert status == 408 and '--timeout' in said['detail']


@pytest.mark.parametrize('length', [b'-5', b'many', b''])
def test_lengths_that_are_none_are_counted(length):
    assert ask([bytes(10)], [(b'content-length', length)], megabytes=0.1)[0] == 200


HOST = (b'host', b'here.example:8000')
ORIGINS = {
    b'http://here.example:8000': 200,
    b'http://HERE.example:8000': 200,
    b'http://there.example:8000': 403,
    b'http://here.example:9000': 403,
    b'http://here.example': 403,
    b'http://here.example:port': 403,
    b'null': 403,
    b'': 403,
}


@pytest.mark.parametrize('origin', ORIGINS)
def test_pages_of_other_places_may_not_ask(origin):
    status, said, _, _ = ask([b'x'], [HOST, (b'origin', origin)])
    assert status == ORIGINS[origin] and (status == 200 or 'another site' in said['detail'])


def test_the_browser_s_word_counts_behind_a_proxy():
    sent = [(b'host', b'127.0.0.1:8000'), (b'origin', b'https://here.example')]
    for site, status in ((b'same-origin', 200), (b'same-site', 403), (b'cross-site', 403)):
        assert ask([b'x'], [*sent, (b'sec-fetch-site', site)])[0] == status


@pytest.mark.parametrize(('origin', 'host'), [(b'http://[::1]', b'[::1]:80'), (b'https://a.example', b'a.example')])
def test_usual_ports_need_not_be_said(origin, host):
    assert ask([b'x'], [(b'host', host), (b'origin', origin)])[0] == 200
    assert ask([b'x'], [(b'host', host)])[0] == 200
