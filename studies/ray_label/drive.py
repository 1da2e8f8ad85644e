"""The driver as a process of its own: labels a folder of tar files on a cluster, and says what there is as JSON."""

from __future__ import annotations

import functools
import json
import sys

from denseclip.apis.labelling.cluster import engine
from denseclip.apis.labelling.cluster.run import ShardOrder, label_source
from studies.ray_label.model import ColourModel


def main(source: str, out: str, port: str, actors: str, wait: str) -> None:
    """Label; see ``__main__``."""
    cluster = engine.Cluster(f'127.0.0.1:{port}', int(actors))
    load = functools.partial(ColourModel, float(wait))
    run = functools.partial(engine.run, cluster=cluster)
    done = label_source([source], out, load, ShardOrder(), run, batch=16)
    print(json.dumps({'pictures': done.pictures, 'new': done.new, 'letters': done.letters, 'left': len(done.left)}))


if __name__ == '__main__':
    main(*sys.argv[1:])
