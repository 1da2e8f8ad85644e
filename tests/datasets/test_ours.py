"""What converters may replace: only what this program made, nothing of a source's, whatever is in the way."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from generated import write_dataset
from PIL import Image
from scipy.io import savemat

from denseclip.datasets import AnomalyFolderDataset
from denseclip.datasets.converters import (
    ConversionError,
    convert_ade20k_full,
    convert_camvid,
    convert_cityscapes,
    convert_cityscapes_panoptic,
    convert_coco_object,
    convert_coco_stuff,
    convert_magnetic_tile,
    convert_pascal_context,
    convert_pascal_context459,
    convert_visa,
    write_anomaly_meta,
)
from denseclip.datasets.converters.layout import complete_or_absent
from denseclip.datasets.converters.voc_boxes import convert_bccd, convert_voc_boxes
from denseclip.datasets.own_data import recognise
from denseclip.files.scratch import MARKER

SIZE = (24, 32)
XML = (
    '<annotation><object><name>RBC</name><bndbox><xmin>2</xmin><ymin>3</ymin><xmax>20</xmax><ymax>21</ymax></bndbox>'
    '</object></annotation>'
)


def save(pixels: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path)


def write_voc(root: Path) -> None:
    for name in 'abcd':
        save(np.zeros((*SIZE, 3)), root / f'JPEGImages/{name}.jpg')
        (root / 'Annotations').mkdir(exist_ok=True)
        (root / f'Annotations/{name}.xml').write_text(XML)


def write_coco_stuff(root: Path) -> None:
    save(np.zeros((*SIZE, 3)), root / 'images/val2017/1.jpg')
    save(np.full(SIZE, 255), root / 'annotations/val2017/1.png')


def write_cityscapes(root: Path) -> None:
    save(np.zeros((*SIZE, 3)), root / 'leftImg8bit/val/ulm/a_leftImg8bit.png')
    save(np.full(SIZE, 7), root / 'gtFine/val/ulm/a_gtFine_labelIds.png')


def write_context(root: Path) -> None:
    for split in ('train', 'val'):
        save(np.zeros((*SIZE, 3)), root / f'JPEGImages/{split}.jpg')
        (root / 'ImageSets/Main').mkdir(parents=True, exist_ok=True)
        (root / f'ImageSets/Main/{split}.txt').write_text(split)
        (root / 'matrices').mkdir(exist_ok=True)
        savemat(root / f'matrices/{split}.mat', {'LabelMap': np.full(SIZE, 2, np.uint16)})


def write_full(root: Path) -> None:
    numbers = np.zeros((*SIZE, 3))
    save(numbers, root / 'images/ADE/validation/a/1.jpg')
    save(numbers, root / 'images/ADE/validation/a/1_seg.png')


def generated(layout: str) -> Callable[[Path], None]:
    def write(root: Path) -> None:
        write_dataset(layout, root, num_train=2, num_val=1, size=SIZE)

    return write


CONVERTERS: dict[str, tuple[Callable[[Path], None], Callable[..., Any]]] = {
    'camvid': (generated('camvid'), convert_camvid),
    'bccd': (write_voc, convert_bccd),
    'voc_boxes': (write_voc, lambda s, t, force: convert_voc_boxes(s, t, {'RBC': 'cell'}, force=force)),
    'coco_stuff': (write_coco_stuff, convert_coco_stuff),
    'coco_object': (write_coco_stuff, convert_coco_object),
    'cityscapes': (write_cityscapes, lambda s, t, force: convert_cityscapes(s, t, splits=['val'], force=force)),
    'context': (write_context, lambda s, t, force: convert_pascal_context(s, s / 'matrices', t, force=force)),
    'context459': (write_context, lambda s, t, force: convert_pascal_context459(s, s / 'matrices', t, force=force)),
    'ade20k_full': (write_full, convert_ade20k_full),
    'visa': (generated('visa'), convert_visa),
    'magnetic_tile': (generated('magnetic_tile'), convert_magnetic_tile),
    'own data': (write_voc, lambda s, t, force: recognise(s, converted=t, force=force)),
}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob('*')) if p.is_file()}


@pytest.fixture(params=CONVERTERS, ids=list(CONVERTERS))
def converter(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Callable[..., Any]]:
    """A source and what converts it to a target."""
    write, convert = CONVERTERS[request.param]
    source = tmp_path / 'home' / 'source'
    write(source)
    return source, convert


def test_a_source_is_never_touched(converter: tuple[Path, Callable[..., Any]], tmp_path: Path) -> None:
    source, convert = converter
    link = tmp_path / 'link'
    link.symlink_to(source, target_is_directory=True)
    before = contents(source)
    for target in (
        source,
        source.parent,
        source / 'made',
        link,
        link / 'made',
        source / '..',
        tmp_path,
        next(path for path in source.iterdir() if path.is_dir()),
    ):
        with pytest.raises(ConversionError, match='the source|same folder'):
            convert(source, target, force=True)
        with pytest.raises(ConversionError, match='the source|same folder'):
            convert(link, target, force=True)
    assert contents(source) == before and sorted(p.name for p in tmp_path.iterdir()) == ['home', 'link']


def test_only_our_own_folder_is_replaced(converter: tuple[Path, Callable[..., Any]], tmp_path: Path) -> None:
    source, convert = converter
    target = tmp_path / 'made'
    target.mkdir()
    (target / 'photo.png').write_text('mine')
    with pytest.raises(ConversionError, match='was not made by this program'):
        convert(source, target, force=True)
    assert (target / 'photo.png').read_text() == 'mine'
    (target / 'photo.png').unlink()
    convert(source, target, force=True)  # an empty folder
    made = set(contents(target))
    convert(source, target, force=True)  # what we made
    assert set(contents(target)) == made and MARKER in made
    (target / 'deep').mkdir()
    (target / 'deep/photo.png').write_text('mine')
    with pytest.raises(ConversionError, match=r'holds deep/photo\.png, which was not made'):
        convert(source, target, force=True)
    assert set(contents(target)) == made | {'deep/photo.png'}
    assert sorted(p.name for p in tmp_path.iterdir()) == ['home', 'made']


def make(target: Path, text: str = 'new', force: bool = True) -> None:
    with complete_or_absent(target, force=force) as staging:
        (staging / 'file').write_text(text)


def test_what_was_changed_since_stays(tmp_path: Path) -> None:
    make(tmp_path / 'made')
    os.utime(tmp_path / 'made/file', ns=(time.time_ns() + 10**9,) * 2)
    with pytest.raises(ConversionError, match='holds file, which was changed since'):
        make(tmp_path / 'made')
    (tmp_path / 'made' / MARKER).write_text('[]')
    with pytest.raises(ConversionError, match='was not made by this program'):
        make(tmp_path / 'made')


def test_targets_that_are_no_folder_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / 'file').write_text('mine')
    with pytest.raises(ConversionError, match='is a file'):
        make(tmp_path / 'file')
    assert (tmp_path / 'file').read_text() == 'mine'
    make(tmp_path / 'here')
    monkeypatch.chdir(tmp_path / 'here')
    with pytest.raises(ConversionError, match='folder that you are in'):
        make(Path())
    with pytest.raises(ConversionError, match='cannot write to'):
        make(tmp_path / 'file/below')


def test_a_link_as_target_keeps_pointing(tmp_path: Path) -> None:
    (tmp_path / 'disk').mkdir()
    (tmp_path / 'made').symlink_to(tmp_path / 'disk/made')
    make(tmp_path / 'made', 'old')
    make(tmp_path / 'made', 'new')
    assert (tmp_path / 'made').is_symlink() and (tmp_path / 'disk/made/file').read_text() == 'new'
    assert [p.name for p in (tmp_path / 'disk').iterdir()] == ['made']


def test_the_folder_has_the_rights_of_any_other(tmp_path: Path) -> None:
    make(tmp_path / 'made')
    (tmp_path / 'plain').mkdir()
    assert (tmp_path / 'made').stat().st_mode == (tmp_path / 'plain').stat().st_mode


def test_names_of_any_length_and_letters(tmp_path: Path) -> None:
    for name in ('n' * 255, 'ß' * 127, 'not utf-8 \udcff', '.*?[a]{2}'):
        make(tmp_path / name, 'old')
        make(tmp_path / name, 'new')
        assert (tmp_path / name / 'file').read_text() == 'new'
    assert len(list(tmp_path.iterdir())) == 4


def test_what_is_linked_to_is_not_replaced(tmp_path: Path) -> None:
    make(tmp_path / 'made', 'old')
    target = tmp_path / 'made'
    with pytest.raises(ConversionError, match='linked to'), complete_or_absent(target, force=True) as staging:
        (staging / 'link').symlink_to(target / 'file')
    assert (tmp_path / 'made/file').read_text() == 'old'


def test_links_in_a_source_lead_to_sources(tmp_path: Path) -> None:
    write_voc(tmp_path / 'source')
    shutil.move(tmp_path / 'source/JPEGImages', tmp_path / 'pictures')
    (tmp_path / 'source/JPEGImages').symlink_to(tmp_path / 'pictures')
    with pytest.raises(ConversionError, match='lies inside the source'):
        convert_bccd(tmp_path / 'source', tmp_path / 'pictures/made')
    assert len(list((tmp_path / 'pictures').iterdir())) == 4


def killed(work: Callable[[], None], number: signal.Signals, ready: Path) -> int | None:
    process = multiprocessing.get_context('fork').Process(target=work)
    process.start()
    for _ in range(1000):
        if ready.exists():
            break
        time.sleep(0.01)
    os.kill(process.pid, number)
    process.join(10)
    return process.exitcode


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_leaves_the_old_folder(tmp_path: Path, number: signal.Signals) -> None:
    make(tmp_path / 'made', 'old')

    def work() -> None:
        with complete_or_absent(tmp_path / 'made', force=True) as staging:
            (staging / 'file').write_text('half')
            (tmp_path / 'ready').touch()
            time.sleep(60)

    code = killed(work, number, tmp_path / 'ready')
    assert code == (143 if number == signal.SIGTERM else -9)
    assert (tmp_path / 'made/file').read_text() == 'old'
    if number == signal.SIGKILL:
        assert len(list(tmp_path.glob('.made.new-*'))) == 1
        with pytest.raises(ConversionError, match='--force'):
            make(tmp_path / 'made', force=False)
    assert list(tmp_path.glob('.*')) == []


def test_a_kill_in_the_middle_of_the_exchange(tmp_path: Path) -> None:
    """Between the two renames the target is nowhere; the next start brings it back."""
    make(tmp_path / 'made', 'old')

    def work() -> None:
        plain = Path.rename

        def rename(self: Path, to: Path) -> Path:
            moved = plain(self, to)
            os.kill(os.getpid(), signal.SIGKILL)
            return moved

        Path.rename = rename  # type: ignore[method-assign]
        make(tmp_path / 'made', 'new')

    (tmp_path / 'ready').touch()
    process = multiprocessing.get_context('fork').Process(target=work)
    process.start()
    process.join(10)
    assert process.exitcode == -9 and not (tmp_path / 'made').exists()
    with pytest.raises(ConversionError, match='--force'):
        make(tmp_path / 'made', force=False)
    assert (tmp_path / 'made/file').read_text() == 'old' and list(tmp_path.glob('.*')) == []


def test_a_failing_exchange_is_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / 'made', 'old')
    plain = Path.rename

    def rename(self: Path, to: Path) -> Path:
        if self.name == 'new':
            raise OSError(28, 'No space left on device')
        return plain(self, to)

    monkeypatch.setattr(Path, 'rename', rename)
    with pytest.raises(OSError, match='No space'):
        make(tmp_path / 'made', 'new')
    assert (tmp_path / 'made/file').read_text() == 'old' and list(tmp_path.glob('.*')) == []


def test_panoptic_files_of_others_stay(tmp_path: Path) -> None:
    save(np.zeros((*SIZE, 3)), tmp_path / 'leftImg8bit/val/ulm/a_leftImg8bit.png')
    save(np.full(SIZE, 7), tmp_path / 'gtFine/val/ulm/a_gtFine_instanceIds.png')
    made = tmp_path / 'gtFine/cityscapes_panoptic_val.json'
    made.write_text('{}')
    for force in (False, True):
        with pytest.raises(ConversionError, match='was not made by this program' if force else '--force'):
            convert_cityscapes_panoptic(tmp_path, force=force)
    assert made.read_text() == '{}' and not made.with_suffix('').exists()
    made.unlink()
    convert_cityscapes_panoptic(tmp_path)
    convert_cityscapes_panoptic(tmp_path, force=True)
    assert len(json.loads(made.read_text())['annotations']) == 1
    (made.with_suffix('') / 'photo.png').touch()
    with pytest.raises(ConversionError, match=r'holds photo\.png'):
        convert_cityscapes_panoptic(tmp_path, force=True)


def test_a_meta_file_replaces_only_such_files(tmp_path: Path) -> None:
    root = write_dataset('anomaly_folder', tmp_path / 'data', num_train=1, num_val=1, size=SIZE)
    splits = [AnomalyFolderDataset(root, lazy_init=True)]
    photo = next(root.rglob('*.png'))
    before = photo.read_bytes()
    for target in (photo, root):
        with pytest.raises(ConversionError, match='nothing was replaced'):
            write_anomaly_meta(splits, target, force=True)
    assert photo.read_bytes() == before
    write_anomaly_meta(splits, tmp_path / 'meta.json')
    write_anomaly_meta(splits, tmp_path / 'meta.json', force=True)


def test_own_data_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_voc(tmp_path / 'cells')
    monkeypatch.chdir(tmp_path / 'cells')
    recognise('.')
    assert sorted(p.name for p in tmp_path.iterdir()) == ['cells', 'cells_coco']
