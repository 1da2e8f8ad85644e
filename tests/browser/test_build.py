import gzip
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

import denseclip.runtime
from denseclip.apis.errors import UserError
from denseclip.browser import build, build_page, text_side
from denseclip.browser.libraries import FILES, LISTS, PAGE
from denseclip.runtime.graphs import TextSide
from denseclip.runtime.kinds import Masks
from denseclip.runtime.manifest import FILE, Manifest, Picture, Words, file_sum

WIDTH = 16
NAMES = ('sky', 'road', 'tree', 'car')


def graph(path: Path, nodes: list, inputs: dict, outputs: dict, weights: dict[str, np.ndarray]) -> None:
    """Write a graph of ONNX."""

    def values(of: dict) -> list:
        return [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in of.items()]

    tensors = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    made = helper.make_graph(nodes, 'g', values(inputs), values(outputs), tensors)
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid('', 18)], ir_version=10), path)


@pytest.fixture(scope='module')
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of a model that takes the mean of three planes and multiplies it by the first three of a word."""
    folder, rng = tmp_path_factory.mktemp('exported'), np.random.default_rng(0)
    words = ('[pad]', 'a', 'photo', 'of', '.', *NAMES, 'x')
    tokenizer = Tokenizer(WordLevel({word: k for k, word in enumerate(words)}, unk_token='x'))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder / 'tokenizer.json'))
    nodes = [
        helper.make_node('Gather', ['table', 'tokens'], ['rows']),
        helper.make_node('ReduceMean', ['rows', 'axes'], ['mean'], keepdims=0),
        helper.make_node('MatMul', ['mean', 'matrix'], ['embeddings']),
    ]
    weights = {
        'table': rng.normal(size=(len(words), WIDTH)).astype(np.float32),
        'matrix': rng.normal(size=(WIDTH, WIDTH)).astype(np.float32),
        'axes': np.array([1], dtype=np.int64),
    }
    shapes = {'tokens': (TensorProto.INT64, ['p', 'l'])}, {'embeddings': (TensorProto.FLOAT, ['p', WIDTH])}
    graph(folder / 'text.onnx', nodes, *shapes, weights)
    nodes = [
        helper.make_node('Slice', ['text', 'zero', 'three', 'one'], ['short']),
        helper.make_node('Reshape', ['short', 'shape'], ['kernel']),
        helper.make_node('Conv', ['images', 'kernel'], ['scores'], strides=[4, 4]),
    ]
    weights = {
        'zero': np.array([0]),
        'three': np.array([3]),
        'one': np.array([1]),
        'shape': np.array([-1, 3, 1, 1]),
    }
    inputs = {'images': (TensorProto.FLOAT, ['n', 3, 'h', 'w']), 'text': (TensorProto.FLOAT, ['k', WIDTH])}
    graph(folder / 'image.onnx', nodes, inputs, {'scores': (TensorProto.FLOAT, ['n', 'k', 'y', 'x'])}, weights)
    files = {'image': 'image.onnx', 'text': 'text.onnx', 'tokenizer': 'tokenizer.json'}
    picture = Picture((48, 32), True, 2048, True, mean=(127.5,) * 3, std=(127.5,) * 3)
    manifest = Manifest(
        model='Toy',
        picture=picture,
        words=Words(('a photo of a {} .',), 77, 0, ('none', 'prompts'), WIDTH),
        vocabulary={'classes': {name: [] for name in NAMES}, 'background': 'none'},
        palette=tuple((k, k, k) for k in range(len(NAMES))),
        files=files,
        sha256={part: file_sum(folder / name) for part, name in files.items()},
    )
    (folder / FILE).write_text(manifest.to_json())
    return folder


@pytest.fixture(scope='module')
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('node_modules')
    for place in FILES.values():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_bytes(place.encode())
    return folder


def test_a_page_is_an_export_and_what_runs_it(exported: Path, libraries: Path, tmp_path: Path) -> None:
    page = build_page(exported, tmp_path / 'page', libraries=libraries)
    files = {path.relative_to(page.folder).as_posix() for path in page.folder.rglob('*') if path.is_file()}
    assert set(page.sizes) == files
    assert {'index.html', 'page.js', 'worker.js', 'page.css', 'colours.json', 'lib/LICENCES.txt'} < files
    assert not any(name in files for name in LISTS) and not [name for name in files if name.startswith('.')]
    packed = (page.folder / 'lib' / 'ort-wasm-simd-threaded.wasm.gz').read_bytes()
    assert gzip.decompress(packed) == FILES['ort-wasm-simd-threaded.wasm'].encode()
    assert len(json.loads((page.folder / 'colours.json').read_text())) == 256
    # The model of the page is an export that the runtime opens, and labels as the one it came from.
    picture = np.random.default_rng(1).integers(0, 256, (37, 53, 3), dtype=np.uint8)
    labels = [denseclip.runtime.load(f).segment(picture).label_map for f in (exported, page.folder / 'model')]
    assert (labels[0] == labels[1]).mean() > 0.95 and len(np.unique(labels[0])) > 1
    assert page.text is not None and page.text.cosine >= text_side.LEAST_COSINE
    assert (page.folder / 'model' / 'text.onnx').read_bytes() != (exported / 'text.onnx').read_bytes()


def test_a_page_in_float32_keeps_the_text_side(exported: Path, libraries: Path, tmp_path: Path) -> None:
    page = build_page(exported, tmp_path / 'page', 'fp32', libraries)
    assert page.text is None
    assert (page.folder / 'model' / 'text.onnx').read_bytes() == (exported / 'text.onnx').read_bytes()


def test_earlier_pages_are_replaced_only_by_force(exported: Path, libraries: Path, tmp_path: Path) -> None:
    page = build_page(exported, tmp_path, 'fp32', libraries)
    (tmp_path / 'mine.txt').write_text('mine')
    with pytest.raises(UserError, match='holds earlier results'):
        build_page(exported, tmp_path, 'fp32', libraries)
    again = build_page(exported, tmp_path, 'fp32', libraries, force=True)
    assert set(again.sizes) == {*page.sizes, 'mine.txt'}


@pytest.mark.parametrize('name', ['lib', 'model'])
@pytest.mark.parametrize('made', [True, False])
def test_folders_keep_what_no_page_brought(exported, libraries, tmp_path, name, made) -> None:
    if made:
        build_page(exported, tmp_path, 'fp32', libraries)
    (tmp_path / name).mkdir(exist_ok=True)
    (tmp_path / name / 'thesis.tex').write_text('mine')
    before = {path: path.read_bytes() for path in tmp_path.rglob('*') if path.is_file()}
    with pytest.raises(UserError, match='nothing was replaced'):
        build_page(exported, tmp_path, 'fp32', libraries, force=True)
    assert {path: path.read_bytes() for path in tmp_path.rglob('*') if path.is_file()} == before


@pytest.mark.parametrize('place', ['model', 'lib', 'model/deep', '.'])
def test_a_page_takes_the_place_of_no_export(exported, libraries, tmp_path, place) -> None:
    own = tmp_path / 'page' / place
    shutil.copytree(exported, own)
    before = {path: path.read_bytes() for path in (tmp_path / 'page').rglob('*') if path.is_file()}
    with pytest.raises(UserError, match='source'):
        build_page(own, tmp_path / 'page', 'fp32', libraries, force=True)
    assert {path: path.read_bytes() for path in (tmp_path / 'page').rglob('*') if path.is_file()} == before


def test_a_page_that_cannot_be_built_leaves_the_earlier_one(exported: Path, libraries: Path, tmp_path: Path) -> None:
    page = build_page(exported, tmp_path / 'page', 'fp32', libraries)
    with pytest.raises(UserError, match='cannot be read'):
        build_page(exported, page.folder, 'fp32', tmp_path, force=True)
    assert sum(path.stat().st_size for path in page.folder.rglob('*') if path.is_file()) == sum(page.sizes.values())


def test_text_sides_that_int8_spoils_are_refused(exported: Path, tmp_path: Path, monkeypatch) -> None:
    manifest = Manifest.read(exported)
    assert manifest.words is not None
    files = exported / 'text.onnx', tmp_path / 'text.onnx', manifest.words, exported / 'tokenizer.json', NAMES
    cost = text_side.quantise_text(*files)
    assert cost.sentences == len({*NAMES, *text_side._PROBES})
    rows = [TextSide(manifest.words, f, files[3]).sentences(['a photo of a sky .']) for f in files[:2]]
    assert 0 < np.abs(rows[0] - rows[1]).max() < 0.1 * np.abs(rows[0]).max()
    monkeypatch.setattr(text_side, 'LEAST_COSINE', 1.1)
    with pytest.raises(UserError, match='--text fp32'):
        text_side.quantise_text(*files)


@pytest.mark.parametrize(
    ('change', 'reason'),
    [
        (dict(words=None), 'words are fixed'),
        (dict(files={'image': 'image.xml', 'text': 'text.xml'}), '--to onnx'),
        (dict(files={'image': 'i.onnx', 'text': 't.onnx', 'image_weights': 'i.onnx.data'}), 'beside its graph'),
        (dict(picture=dict(crop=(8, 8), stride=(4, 4))), 'in windows'),
        (dict(picture=dict(resize=None)), 'at their own size'),
        (dict(picture=dict(backend='pillow')), "Pillow's rounding"),
        (dict(scores=dict(kind='cosines')), 'scores are cosines'),
        (dict(words=dict(merge='max')), 'each name'),
        (dict(words=dict(classes=3)), 'one number of classes'),
        (dict(words=dict(cleaning='clip')), "CLIP's tokenizer"),
    ],
)
def test_exports_that_the_page_cannot_run_are_told_why(exported: Path, change: dict, reason: str) -> None:
    manifest = Manifest.read(exported)
    build.check_export(exported, manifest)
    for name, value in change.items():
        inner = name in ('picture', 'scores', 'words') and value is not None
        manifest = replace(manifest, **{name: replace(getattr(manifest, name), **value) if inner else value})
    with pytest.raises(UserError, match=reason):
        build.check_export(exported, manifest)


def test_other_kinds_of_models_are_refused(exported: Path) -> None:
    masks = Masks('clip', 0.0, 0.0, (), False, 'semantic', None, 0.0, 0.0, 1, True, 1.0)
    with pytest.raises(UserError):
        build.check_export(exported, replace(Manifest.read(exported), rule=masks))


def test_precisions_of_the_text_side_are_named(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match='int8, fp32'):
        build_page(exported, tmp_path / 'page', 'fp16')
    assert not (tmp_path / 'page').exists()


def test_the_page_can_ask_nobody_else() -> None:
    """Pictures stay in the browser: its policy allows files of its own host only, and no file names another."""
    html = (PAGE / 'index.html').read_text()
    assert "default-src 'none'" in html and "connect-src 'self'" in html and "form-action 'none'" in html
    for name in build._OWN:
        assert '://' not in (PAGE / name).read_text(), name
