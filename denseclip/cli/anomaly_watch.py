"""``denseclip anomaly --watch``: pictures are judged as they arrive."""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import Any

from denseclip.apis.errors import UserError
from denseclip.cli.anomaly_models import chosen_method, give_references, load_anomaly_model, load_namer
from denseclip.cli.pictures import load_aloud
from denseclip.cli.talk import emit
from denseclip.files.names import shown


def check_watch(args: argparse.Namespace) -> None:
    """Refuse options that do not go with a watch.

    Raises:
        UserError: Then.
    """
    if not (math.isfinite(args.watch) and 0 < args.watch <= 3600):
        raise UserError(f'--watch {args.watch:g} must be seconds between looks, above 0 and up to 3600.')
    if args.out is None:
        raise UserError('--watch writes a report that grows: say where with --out DIR.')
    if args.force:
        raise UserError('--watch goes on in --out and overwrites nothing: leave --force out.')
    if args.method == 'batch':
        raise UserError('--watch judges pictures one by one: --method batch, by which they judge one another, cannot.')
    if args.threshold.lower() == 'f1':
        raise UserError('--watch has no labels for --threshold F1: use auto or a score.')


def watch(args: argparse.Namespace, threshold: str | float) -> int:
    """Judge what is there and what arrives, until Ctrl-C; then the exit code.

    Raises:
        UserError: If there are no good pictures, or results cannot go on in ``--out``.
    """
    from denseclip.apis.anomaly_folder import check_threshold
    from denseclip.apis.anomaly_watch import Watch, alone
    from denseclip.apis.inputs import expand_inputs
    from denseclip.cli.anomaly import DEFECT_FOUND, extra_formats, wants_maps
    from denseclip.datasets.anomaly_layouts import NORMAL_NAMES

    folder = Path(args.folder)
    if not folder.is_dir():
        raise UserError(f"'{folder}' is not a folder; name the one that pictures arrive in.")
    if folder.resolve().is_relative_to(Path(args.out).resolve()):  # inside is all right: the watch leaves it out
        raise UserError(f"--out '{args.out}' would put results among the pictures that arrive: choose another folder.")
    check_threshold(threshold, [])
    normal = [path for path in sorted(folder.iterdir()) if path.is_dir() and path.name.lower() in NORMAL_NAMES]
    good = expand_inputs(args.normal or normal) if args.normal or normal else []
    if not good:
        raise UserError('--watch needs good pictures that say what is usual: name some with --normal.')
    choice = chosen_method(args, len(good), len(good))
    inferencer: Any = load_aloud(lambda: load_anomaly_model(args, choice))
    namer = load_namer(args, inferencer)
    _, judges = give_references(inferencer, choice, good, [])
    if not judges:
        raise UserError(
            '--watch needs two different good pictures at least: one alone cannot tell what is usual (--normal).'
        )
    with alone(Path(args.out)):
        running = Watch(
            folder,
            Path(args.out),
            inferencer,
            judges,
            threshold,
            skipped=[*normal, *map(Path, args.normal or ()), *good],
            object_name=args.object or 'part',
            maps=wants_maps(args),
            formats=extra_formats(args),
        )
        running.found.method, running.found.namer = str(choice), namer
        _look_on(running, args)
    flagged = any(entry.row['anomalous'] for entry in running.written)
    return DEFECT_FOUND if args.fail_on_defect and flagged else 0


def _look_on(running: Any, args: argparse.Namespace) -> None:
    """Look, say what was judged, and sleep, until Ctrl-C."""
    if not args.json:
        before = f', {len(running.written)} judged before' if running.written else ''
        print(f'watching {shown(args.folder)}{before}; Ctrl-C stops', flush=True)
    try:
        while True:
            for entry in running.look():
                _say(entry.row, args)
            time.sleep(args.watch)
    except KeyboardInterrupt:
        running.report()
    if args.json:
        for line in running.waiting:
            emit(args.output, {'error': line})
    else:
        flagged = sum(bool(entry.row['anomalous']) for entry in running.written)
        print(f'stopped: {len(running.written)} pictures, {flagged} anomalous; written: {shown(args.out)}/report.html')
        for line in running.waiting:
            print(f'  not judged: {shown(line)}')


def _say(row: dict[str, Any], args: argparse.Namespace) -> None:
    if args.json:
        emit(args.output, row)
        return
    verdict = 'ANOMALOUS' if row['anomalous'] else 'good'
    print(f'{float(row["score"]):.3f}  {verdict:<9}  {shown(row["file"])}', flush=True)
