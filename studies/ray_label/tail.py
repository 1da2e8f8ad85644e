"""How long a shard should be, for 1,000 workers and 100 million pictures: a simulation of the queue alone.

    python -m studies.ray_label.tail

Assumed, not measured: 50 pictures/s a worker, speeds that differ by 10 % (log-normal) and one worker in a hundred at a
third of it, half a second to open a shard and to write its part, a worker that dies every 24 hours, loses its shard and
takes 120 seconds to come back. Each worker has one shard and one that waits, as ``engine.run`` hands them out.
"""

from __future__ import annotations

import heapq

import numpy as np

WORKERS, PICTURES, RATE = 1000, 100_000_000, 50.0
OPEN, LIFE, RESTART = 0.5, 86_400.0, 120.0
QUEUED = 2


def simulate(size: int, seed: int = 0) -> tuple[float, float, float]:
    """Run the queue.

    Args:
        size: Pictures of a shard.
        seed: Of the speeds and deaths.

    Returns:
        Hours until the last shard is finished; the part of the workers' time in which they have no work at its end; and
        the part that is lost by deaths.
    """
    rng = np.random.default_rng(seed)
    rates = RATE * rng.lognormal(0.0, 0.1, WORKERS)
    rates[: WORKERS // 100] /= 3
    left = PICTURES // size
    free = [(0.0, worker) for worker in range(WORKERS) for _ in range(QUEUED)]  # a slot each, for the shard that waits
    idle_from = np.zeros(WORKERS)
    lost = 0.0
    heapq.heapify(free)
    while left and free:
        asked, worker = heapq.heappop(free)
        begin = max(asked, idle_from[worker])
        took = OPEN + size / rates[worker]
        while rng.random() < took / LIFE:
            wasted = rng.random() * took + RESTART
            begin, lost = begin + wasted, lost + wasted
        idle_from[worker] = begin + took
        left -= 1
        heapq.heappush(free, (begin + took, worker))
    end = idle_from.max()
    return end / 3600, float(1 - idle_from.sum() / (WORKERS * end)), lost / (WORKERS * end)


def main() -> None:
    """Print the table."""
    print('| pictures of a shard | shards | hours | idle at the end | lost by deaths | over the ideal |')
    print('|---:|---:|---:|---:|---:|---:|')
    rng = np.random.default_rng(0)
    rates = RATE * rng.lognormal(0.0, 0.1, WORKERS)
    rates[: WORKERS // 100] /= 3
    ideal = PICTURES / rates.sum() / 3600
    for size in (100, 300, 1000, 3000, 10_000, 30_000):
        hours, idle, lost = simulate(size)
        print(f'| {size:,} | {PICTURES // size:,} | {hours:.2f} | {idle:.1%} | {lost:.1%} | {hours / ideal - 1:.1%} |')


if __name__ == '__main__':
    main()
