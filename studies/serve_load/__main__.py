"""Many people at one server of ``denseclip serve``: is every request answered, with its own words, in flat memory?

python -m studies.serve_load http://127.0.0.1:8000/ street.jpg --clients 16 --requests 1000

Each client has words and a picture of its own, cut from the photograph. What it must get was asked before, one request
at a time. The server must be up; its memory is read from its /metrics.
"""

import argparse
import io
import json
import re
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

_NOUNS = [
    *('sky', 'road', 'tree', 'car', 'house', 'wall', 'grass', 'water', 'roof'),
    *('person', 'bridge', 'lamp', 'door', 'window', 'cloud', 'hill', 'boat', 'sign'),
]


@dataclass
class Client:
    """One who asks.

    Attributes:
        words: What it asks for.
        picture: A file.
        expected: Pixels of each class.
        seconds: Of each answer.
        faults: What was wrong.
        differing: Most pixels by which a class differed from what was expected.
    """

    words: list[str]
    picture: bytes
    expected: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    differing: int = 0

    def ask(self, server: httpx.Client) -> list[int]:
        """Pixels of each class; faults are noted."""
        start = time.perf_counter()
        answer = server.post(
            'segment', data={'words': '; '.join(self.words)}, files={'image': ('cut.jpg', self.picture)}
        )
        self.seconds.append(time.perf_counter() - start)
        found: dict[str, Any] = answer.json()
        if answer.status_code != 200:
            self.faults.append(f'{answer.status_code}: {found["detail"]}')
            return []
        if found['classes'] != self.words:
            self.faults.append(f'asked for {self.words}, got {found["classes"]}')
        return [area['pixels'] for area in found['areas']]

    def check(self, pixels: list[int]) -> None:
        """Compare with what was expected."""
        if len(pixels) == len(self.expected):
            self.differing = max(self.differing, int(np.abs(np.subtract(pixels, self.expected)).max()))


def main(argv: list[str] | None = None) -> int:
    """Ask, and print what happened as JSON; the exit code says whether any answer was lost or mixed up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('address', help='where the server listens')
    parser.add_argument('picture', type=Path, help='a photograph')
    parser.add_argument('--clients', type=int, default=16)
    parser.add_argument('--requests', type=int, default=1000)
    parser.add_argument('--side', type=int, default=128, help='of the pictures, in pixels')
    args = parser.parse_args(argv)
    clients = _clients(args)
    with httpx.Client(base_url=args.address, timeout=300) as server:
        for client in clients:
            client.expected = client.ask(server)
    memory = [_memory(args.address)]
    for client in clients:
        client.seconds.clear()
    start = time.perf_counter()
    for part in range(4):
        each = args.requests * (part + 1) // (4 * args.clients) - args.requests * part // (4 * args.clients)
        with ThreadPoolExecutor(args.clients) as pool:
            list(pool.map(lambda client, each=each: _ask(client, each, args.address), clients))
        memory.append(_memory(args.address))
    seconds = time.perf_counter() - start
    times = sorted(t for client in clients for t in client.seconds)
    faults = [fault for client in clients for fault in client.faults]
    said = {
        'requests': len(times),
        'lost or mixed up': len(faults),
        'most pixels that differ': max(client.differing for client in clients),
        'requests per second': round(len(times) / seconds, 2),
        'median seconds': round(statistics.median(times), 3),
        '99 % within seconds': round(times[int(0.99 * (len(times) - 1))], 3),
        'resident MB at 0, 25, 50, 75, 100 %': memory,
        'faults': faults[:5],
    }
    print(json.dumps(said, indent=1))
    return int(bool(faults))


def _clients(args: argparse.Namespace) -> list[Client]:
    """Words are rotations of one list in different lengths; pictures are cut at different places, all of one size."""
    photo = Image.open(args.picture).convert('RGB')
    rng = np.random.default_rng(0)
    found = []
    for number in range(args.clients):
        x, y = (int(rng.integers(0, side - args.side)) for side in photo.size)
        out = io.BytesIO()
        photo.crop((x, y, x + args.side, y + args.side)).save(out, 'JPEG')
        words = [*_NOUNS[number % len(_NOUNS) :], *_NOUNS[: number % len(_NOUNS)]]
        found.append(Client(words[: 3 + number % 6], out.getvalue()))
    return found


def _ask(client: Client, count: int, address: str) -> None:
    with httpx.Client(base_url=address, timeout=300) as server:
        for _ in range(count):
            client.check(client.ask(server))


def _memory(address: str) -> int:
    """What the server holds, in MB."""
    text = httpx.get(f'{address.rstrip("/")}/metrics', timeout=60).text
    found = re.search(r'^process_resident_memory_bytes (\S+)', text, re.MULTILINE)
    return round(float(found[1]) / 1e6) if found else 0


if __name__ == '__main__':
    sys.exit(main())
