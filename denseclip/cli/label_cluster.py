"""``denseclip label --engine ray`` and ``--from-shards``: pictures in shards, by many processes."""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from denseclip.apis.errors import UserError
from denseclip.cli.options import PRECISIONS
from denseclip.cli.programs import EXIT_ERROR, at_least
from denseclip.cli.talk import emit, is_verbose
from denseclip.files.names import readable, shown

if TYPE_CHECKING:
    from denseclip.apis.labelling.cluster.run import Sharded
    from denseclip.apis.labelling.objects import Rules
    from denseclip.apis.predictor import Predictor
    from denseclip.clip.vocabulary import Vocabulary

ENGINES = ('local', 'ray')
SHARD_SIZE = 1000
_SHOWN = 10
_OF_SHARDS = ('address', 'actors', 'cpus_per_actor', 'gpus_per_actor', 'shard_size', 'image_column', 'key_column')
_OF_LAYOUTS = ('to', 'pictures')
_OF_COLLECTING = ('folder', 'out', 'to', 'tolerance', 'pictures', 'confidences', 'engine', 'from_shards', 'json')
OF_FILES = ('model', 'config', 'weights', 'clip', 'pretrained', 'dino', 'masks', 'head')


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of shards."""
    group = parser.add_argument_group(
        'millions of pictures', 'in shards of Parquet, by many processes (docs/scale.md; the extra "ray")'
    )
    group.add_argument(
        '--engine',
        choices=ENGINES,
        default='local',
        help='ray: SRC may also be Parquet or tar files (WebDataset), and SRC and --out URLs such as s3://',
    )
    group.add_argument(
        '--address', metavar='HOST:PORT', help='a Ray cluster that runs, or auto (default: this machine alone)'
    )
    group.add_argument(
        '--actors', type=at_least(1), metavar='N', help='models at most (default: what there is room for)'
    )
    group.add_argument('--cpus-per-actor', type=at_least(1), metavar='N', help='cores of a model (default: 1)')
    group.add_argument(
        '--gpus-per-actor', type=float, metavar='F', help='GPUs of a model, or a part of one (default: 0)'
    )
    group.add_argument(
        '--shard-size', type=at_least(1), metavar='N', help=f'pictures of a shard (default: {SHARD_SIZE}; a tar is one)'
    )
    group.add_argument('--label-maps', action='store_true', help='also keep the label map of each picture, as PNG')
    group.add_argument(
        '--image-column', metavar='NAME', help='of pictures in Parquet files, or their ending in tar files'
    )
    group.add_argument('--key-column', metavar='NAME', help='of what pictures are called in Parquet files')
    group.add_argument(
        '--from-shards', action='store_true', help='write finished shards, the folder SRC, as --to and --pictures say'
    )


def check_options(args: argparse.Namespace) -> None:
    """Refuse options that do not go with the engine.

    Raises:
        UserError: If there are such.
    """
    if args.engine == 'ray' and not args.from_shards:
        _refuse(args, _OF_LAYOUTS, 'write Parquet first, and then a layout with --from-shards')
        if args.tolerance:
            raise UserError('--tolerance does not go with --engine ray: give it with --from-shards.')
        if not 0 <= (args.gpus_per_actor or 0) <= 64:
            raise UserError(
                f'--gpus-per-actor is {args.gpus_per_actor:g}; it is a number of GPUs, 0.5 for half of one.'
            )
        return
    _refuse(args, _OF_SHARDS, 'they go with --engine ray')
    if args.label_maps:
        raise UserError('--label-maps goes with --engine ray: leave it out, or take --to masks.')
    if len(args.folder) > 1:
        raise UserError(f'name one folder of pictures, not {len(args.folder)}; several files go with --engine ray.')


def check_collecting(args: argparse.Namespace, add_all: Callable[[argparse.ArgumentParser], None]) -> None:
    """Refuse options that finished shards have no use for: words, model and rules are those that they were made with.

    Args:
        args: The command line.
        add_all: Adds the options of the command, whose defaults tell which were given.

    Raises:
        UserError: If there are such.
    """
    parser = argparse.ArgumentParser()
    add_all(parser)
    plain = vars(parser.parse_args(['shards', '--out', 'out']))
    given = [key for key, usual in plain.items() if key not in _OF_COLLECTING and getattr(args, key) != usual]
    if given:
        named = ', '.join('--' + ('words' if key == 'classes' else key.replace('_', '-')) for key in given)
        raise UserError(
            f'{named} cannot be used so: --from-shards writes what is in the shards; leave it out, or label anew.'
        )


def files_of(args: argparse.Namespace) -> dict[str, str]:
    """Sha256 of the files that the model is loaded from, by name: other ones would give other labels."""
    from denseclip.apis.labelling.cluster.same import sums

    return sums([value for key in OF_FILES if (value := getattr(args, key)) is not None], args.runtime)


def need_tables() -> None:
    """Refuse to go on where shards cannot be read.

    Raises:
        ImportError: If a package is missing.
    """
    try:
        import fsspec  # noqa: F401
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise ImportError(f"--from-shards reads Parquet ({error}): pip install 'denseclip-suite[ray]'") from error


def _refuse(args: argparse.Namespace, options: tuple[str, ...], cure: str) -> None:
    given = ', '.join('--' + name.replace('_', '-') for name in options if getattr(args, name) is not None)
    if given:
        raise UserError(f'{given} cannot be used so: {cure}.')


def run_ray(
    args: argparse.Namespace,
    name: str | None,
    vocabulary: Vocabulary | None,
    model: dict[str, Any],
    rules: Rules,
    load: Callable[..., Predictor],
) -> int:
    """Label in shards.

    Args:
        args: The command line.
        name: Of the model.
        vocabulary: The words.
        model: Options that name the model, for the record.
        rules: Which findings become objects.
        load: Loads a model for options, a name and words.

    Returns:
        Exit code: 2 if a picture has no result.
    """
    from denseclip.apis.labelling.cluster.engine import Cluster, need_ray
    from denseclip.apis.labelling.cluster.engine import run as run_on_ray

    need_ray()
    from denseclip.apis.labelling.cluster.run import ShardOrder, label_source
    from denseclip.cli.pictures import load_aloud
    from denseclip.cli.progress import track

    order = ShardOrder(
        rules,
        args.shard_size or SHARD_SIZE,
        args.label_maps,
        args.image_column,
        args.key_column,
        args.confidences,
        model,
        files_of(args),
    )
    cluster = Cluster(args.address, args.actors, args.cpus_per_actor or 1, args.gpus_per_actor or 0.0, log=is_verbose())

    def describe() -> Predictor:
        found = load_aloud(lambda: load(_here(args), name, vocabulary))
        words: Any = getattr(found, 'vocabulary', None)
        if words is not None and not args.json:
            print(words.describe())
        return found

    done = label_source(
        args.folder,
        args.out,
        functools.partial(load, _plain(args), name, vocabulary),
        order,
        functools.partial(run_on_ray, cluster=cluster),
        describe=describe,
        batch=args.batch_size,
        track=lambda items, total: track(items, total, 'labelling shards'),
    )
    _say(args, done)
    return EXIT_ERROR if done.letters or done.left else 0


def _plain(args: argparse.Namespace) -> argparse.Namespace:
    """Options that can be sent to other machines."""
    kinds = (str, int, float, bool, list, tuple, type(None))
    return argparse.Namespace(**{key: value for key, value in vars(args).items() if isinstance(value, kinds)})


def _here(args: argparse.Namespace) -> argparse.Namespace:
    """Options of the model that only says what its classes are: actors have the GPUs, the driver may have none."""
    found = _plain(args)
    if args.gpus_per_actor and args.runtime is None:
        found.device, found.precision, found.layout, found.compile = 'cpu', PRECISIONS[0], 'auto', False
    return found


def _say(args: argparse.Namespace, done: Sharded) -> None:
    total = done.pictures + done.letters
    if args.json:
        letters = [
            {'picture': letter.key, 'source': letter.source, 'reason': letter.reason, 'tries': letter.tries}
            for letter in done.shown
        ]
        emit(
            args.output,
            {
                'folder': readable(done.place.url),
                'layout': done.header.run.layout,
                'pictures': done.pictures,
                'new': done.new,
                'shards': done.header.shards,
                'objects': done.objects,
                'dead_letters': done.letters,
                'failures': letters,
                'unfinished': [{'shard': shard, 'reason': reason} for shard, reason in done.left],
            },
        )
        return
    kinds = ', '.join(f'{shown(name)} {count:,}' for name, count in done.objects.items())
    earlier = done.pictures - done.new
    print(f'labelled: {done.pictures:,} of {total:,} pictures' + (f', {earlier:,} of them before' * bool(earlier)))
    print(f'  {sum(done.objects.values()):,} objects' + (f': {kinds}' * bool(kinds)))
    print(f'  as Parquet: {shown(done.place.url)}/shards, {done.header.shards:,} files')
    if done.letters:
        sys.stderr.write(
            f'denseclip: error: {done.letters:,} of {total:,} pictures failed, see {shown(done.place.url)}/'
            'dead_letters.csv:\n'
        )
        sys.stderr.writelines(f'  {shown(letter.reason)}\n' for letter in done.shown[:_SHOWN])
    if done.left:
        sys.stderr.write(
            f'denseclip: error: {len(done.left):,} shards are left; start the same command again. The first: '
            f'{shown(done.left[0][1])}\n'
        )
