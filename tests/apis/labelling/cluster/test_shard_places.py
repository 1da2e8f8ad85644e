"""Stores that are no folder of this machine: every picture goes in and out of them once."""

import io
import pickle
import zipfile

import fsspec
import pyarrow.parquet as pq
import pytest
from drawn_shards import archive, label, pictures, rows_of, table

from denseclip.apis.errors import UserError
from denseclip.apis.labelling.cluster.collect import collect
from denseclip.apis.labelling.cluster.places import TRIES, Place, file_system, is_local, joined
from denseclip.apis.labelling.cluster.sources import find_source
from denseclip.apis.labelling.folder import Order

COUNT = 7


@pytest.fixture
def shots(tmp_path):
    """Bytes of pictures by name."""
    return pictures(tmp_path / 'shots', COUNT)


@pytest.fixture
def store():
    """A store in memory."""
    system = fsspec.filesystem('memory')
    yield system
    system.rm('/', recursive=True)


def bring(store, folder):
    """Put the files of a folder into the store."""
    for path in folder.rglob('*.*'):
        store.pipe_file(f'/bucket/in/{path.relative_to(folder).as_posix()}', path.read_bytes())


def rows_in(url):
    place = Place(url)
    names = sorted(place.names('shards'))
    return [row for name in names for row in pq.read_table(io.BytesIO(place.get(f'shards/{name}'))).to_pylist()]


def test_what_a_place_does(store):
    place = Place('memory://a/b')
    copy = pickle.loads(pickle.dumps(place))
    assert not place.local and copy.url == place.url and copy.root == place.root
    assert place.get('x') is None and not place.has('x') and list(place.names()) == []
    place.put('tries/x', b'1')
    place.put('tries/x', b'2')
    assert copy.get('tries/x') == b'2' and list(copy.names(TRIES)) == ['x'] and copy.has('tries/x')
    place.sweep()
    copy.remove('tries/x')
    copy.remove('tries/x')
    assert place.get('tries/x') is None


@pytest.mark.parametrize('kind', ['pictures', 'tables', 'archives'])
def test_from_a_store_into_a_store(shots, store, tmp_path, kind):
    """And back into a folder; the rows are those of local files."""
    if kind != 'pictures':
        for number in range(2):
            some = {name.replace('/', '_'): data for name, data in list(shots.items())[number::2]}
            path = tmp_path / f'data/{number}.{"tar" if kind == "archives" else "parquet"}'
            (archive if kind == 'archives' else table)(path, some)
    here = tmp_path / ('shots' if kind == 'pictures' else 'data')
    bring(store, here)
    label(here, tmp_path / 'out', shard_size=3)
    names = {'pictures': 'in', 'tables': 'in/*.parquet', 'archives': 'in/{0..1}.tar'}
    found = label(f'memory://bucket/{names[kind]}', 'memory://bucket/out', shard_size=3)
    assert (found.pictures, found.letters, found.left) == (COUNT, 0, ())
    assert rows_in('memory://bucket/out') == rows_of(tmp_path / 'out')
    assert label(f'memory://bucket/{names[kind]}', 'memory://bucket/out', shard_size=3).new == 0
    assert not [path for path in store.find('/bucket/out') if '/tries/' in path]
    collected = collect('memory://bucket/out', tmp_path / 'coco', Order('coco'))
    copies = [(tmp_path / 'coco/images' / record.file).read_bytes() for record in collected.records]
    assert sorted(copies) == sorted(shots.values())


def test_a_store_and_its_source_lie_apart(shots, store, tmp_path):
    bring(store, tmp_path / 'shots')
    for out in ('memory://bucket/in', 'memory://bucket/in/out', 'memory://bucket'):
        with pytest.raises(UserError, match='lie in one another'):
            label('memory://bucket/in', out)


def test_roots_of_chained_names_lead_back(shots, tmp_path):
    """Tars behind a cache, in a folder taken for a store, and inside a zip: the root is opened by other processes."""
    for number in range(2):
        archive(tmp_path / f'data/{number}/a.tar', {f'{number}.png': list(shots.values())[number]})
    with zipfile.ZipFile(tmp_path / 'z.zip', 'w') as file:
        for path in sorted((tmp_path / 'data').rglob('*.tar')):
            file.write(path, f'in/{path.parent.name}.tar')
    label(tmp_path / 'data/*/a.tar', tmp_path / 'plain')
    plain = [(row['key'], row['objects']) for row in rows_of(tmp_path / 'plain')]
    names = (
        f'simplecache::file://{tmp_path}/data/*/a.tar',
        f'dir://data/*/a.tar::file://{tmp_path}',
        f'zip://in/*.tar::file://{tmp_path}/z.zip',
    )
    for place, name in enumerate(names):
        source = find_source([name])
        system, root = file_system(source.root)
        assert not is_local(system) and all(system.exists(joined(root, file)) for file, _ in source.files)
        out = f'dir://out-{place}::file://{tmp_path}'
        assert label(name, out).pictures == 2
        assert [(row['key'], row['objects']) for row in rows_of(tmp_path / f'out-{place}')] == plain
