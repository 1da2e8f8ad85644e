"""Ray runs the shards. Ray Data carries their numbers to actors that hold the model, and reports back; nothing else.

Pictures and results never pass through the driver or the object store: an actor reads a shard by its number, and its
part is in the output before it reports. So a number that Ray runs twice, because a process or a node died, finds the
part or makes the same one again, and a report that is lost is found in the part's footer.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from denseclip.apis.errors import UserError
from denseclip.apis.labelling.cluster.job import Job
from denseclip.apis.labelling.cluster.shard import UnusableProcessError
from denseclip.files.names import readable

_QUEUED = 2
"""Shards at an actor, the one that it works on among them: more would wait at a slow one while others are idle."""

_STARTS = 3


@dataclass(frozen=True)
class Cluster:
    """Where shards run.

    Attributes:
        address: Of a cluster that runs; None: one is started on this machine, and ended.
        actors: At most so many; None: as many as there is room for.
        cpus: Cores of an actor.
        gpus: GPUs of an actor; a fraction shares one.
        object_store: Bytes of shared memory of a cluster that is started here; little passes through it.
        log: Whether to show what Ray and its processes say.
    """

    address: str | None = None
    actors: int | None = None
    cpus: int = 1
    gpus: float = 0.0
    object_store: int = 128 * 2**20
    log: bool = False


def need_ray() -> Any:
    """Ray.

    Raises:
        ImportError: If it is not installed.
    """
    os.environ.setdefault('RAY_USAGE_STATS_ENABLED', '0')  # nothing is sent anywhere unless the user says so
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ImportError(f"--engine ray needs Ray ({error}): pip install 'denseclip-suite[ray]'") from error
    return ray


def run(job: Job, shards: Sequence[int], cluster: Cluster) -> Iterator[dict[str, Any]]:
    """Label shards.

    Args:
        job: What the actors do.
        shards: Numbers of the shards.
        cluster: Where.

    Yields:
        What became of each, as they are finished; see ``JobWorker.report``.

    Raises:
        ImportError: If Ray is not installed.
        UserError: If the cluster cannot be reached, or has no room for an actor.
    """
    ray = need_ray()
    started = _connect(ray, cluster)
    try:
        if not cluster.log:
            logging.getLogger('ray.data').setLevel(logging.ERROR)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = context.print_on_execution_start = False
        numbers = ray.data.from_items(list(shards), override_num_blocks=len(shards))
        done = numbers.map_batches(
            _Actor,
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(
                min_size=1, max_size=_room(ray, cluster, len(shards)), max_tasks_in_flight_per_actor=_QUEUED
            ),
            num_cpus=cluster.cpus,
            num_gpus=cluster.gpus or None,
            fn_constructor_args=(job, cluster.cpus),
        )
        for row in done.iter_rows():
            yield json.loads(row['report'])
    finally:
        if started:
            ray.shutdown()


class _Actor:
    """A process that holds the model."""

    def __init__(self, job: Job, threads: int) -> None:
        self._fatal = ''
        try:
            self._worker = job.start(threads)
        except Exception as error:  # said by the driver, in one sentence; Ray would try for ever
            self._fatal = readable(error) if isinstance(error, UserError) else f'{type(error).__name__}: {error}'

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        shard = int(batch['item'][0])
        if self._fatal:
            return {'report': [json.dumps({'shard': shard, 'fatal': self._fatal})]}
        try:
            return {'report': [json.dumps(self._worker.report(shard))]}
        except UnusableProcessError:
            os._exit(1)  # Ray starts another process; the mark of the shard says what it died of


def _connect(ray: Any, cluster: Cluster) -> bool:
    """Connect, or start Ray here; whether it was started."""
    if ray.is_initialized():
        return False
    common = {'log_to_driver': cluster.log, 'logging_level': 'INFO' if cluster.log else 'ERROR'}
    if cluster.address is None:
        start(ray, cluster.object_store, common)
        return True
    try:
        ray.init(address=cluster.address, **common)
    except (ConnectionError, RuntimeError, ValueError) as error:
        if 'AuthToken' in f'{error.__context__}{error.__cause__}':
            raise UserError(
                f"the Ray cluster at '{cluster.address}' asks for a token: set RAY_AUTH_MODE=token, or start on one of "
                'its machines with --address auto.'
            ) from error
        raise UserError(
            f"no Ray cluster answers at '{cluster.address}' ({' '.join(str(error).split())[:200]}); start one with "
            "'ray start --head', or leave --address out to run on this machine."
        ) from error
    return True


def start(ray: Any, object_store: int, common: Mapping[str, Any]) -> None:
    """Start Ray on this machine.

    Raises:
        UserError: If it does not start.
    """
    for number in range(1, _STARTS + 1):
        try:
            ray.init(address='local', include_dashboard=False, object_store_memory=object_store, **common)
            return
        except Exception as error:  # of no class of its own: a busy machine takes longer than Ray waits
            ray.shutdown()
            if number == _STARTS:
                raise UserError(
                    f'Ray does not start on this machine: {" ".join(str(error).split())[:300]} Try again when it is '
                    'less busy, or name a cluster with --address.'
                ) from error


def _room(ray: Any, cluster: Cluster, shards: int) -> int:
    """How many actors there may be.

    Raises:
        UserError: If there is room for none on this machine.
    """
    there = ray.cluster_resources()
    cpus, gpus = there.get('CPU', 0.0), there.get('GPU', 0.0)
    room = int(cpus // cluster.cpus)
    if cluster.gpus:
        room = min(room, int(gpus // cluster.gpus if cluster.gpus >= 1 else gpus * int(1 / cluster.gpus + 1e-6)))
    if room < 1 and cluster.address is None:
        raise UserError(
            f'an actor takes {cluster.cpus} cores and {cluster.gpus:g} GPUs; this machine has {cpus:g} and {gpus:g}. '
            'Ask for less with --cpus-per-actor and --gpus-per-actor.'
        )
    return max(1, min(cluster.actors or max(room, 1), shards))
