"""The whole loop of docs/label.md on a cut: words, labels, decisions, a data set, a student, its answer."""

import json
from pathlib import Path

import numpy as np
import pytest
from drawn_teacher import DrawnTeacher, draw_picture
from PIL import Image

from denseclip.apis.labelling.store import Store
from denseclip.cli import label
from denseclip.cli.main import main

SMALL = [
    'model.backbone.pretrained=None',
    'train_dataloader.batch_size=2',
    *(
        f'{split}_dataloader.{key}'
        for split in ('train', 'val')
        for key in ('num_workers=0', 'persistent_workers=False')
    ),
]
WORDS = 'road; car = auto; sky'


@pytest.mark.slow
def test_from_words_to_a_student(tmp_path, monkeypatch, capsys):
    for place in range(6):
        draw_picture(tmp_path / f'shots/{place % 2}/{place}.png', place, (64, 80))
    monkeypatch.setattr(label, 'load_teacher', lambda args, name, vocabulary: DrawnTeacher(vocabulary))
    shots, maps, student = (str(tmp_path / name) for name in ('shots', 'maps', 'student'))
    typed = ['label', shots, '--words', WORDS, '--out', maps, '--to', 'masks', '--confidences']
    assert main(typed) == 0
    assert main(['review', maps]) == 0
    store = Store(Path(maps))
    record = store.records()[0]
    chosen = [{'picture': record.name, 'object': record.objects[0].id, 'action': 'drop'}]
    content = {'kind': 'denseclip decisions', 'version': 1, 'labels': store.opened().id, 'decisions': chosen}
    (tmp_path / 'decisions.json').write_text(json.dumps(content))
    assert main(['review', maps, '--apply', str(tmp_path / 'decisions.json')]) == 0
    labels = np.asarray(Image.open(Path(maps) / f'masks/{record.name}.png'))
    assert (labels[record.objects[0].mask] == 255).all() and (labels == 255).sum() == record.objects[0].area
    assert main(['new-dataset', maps, '--out', str(tmp_path / 'mine.py')]) == 0
    assert 'perfect segmentor: mIoU 1.000' in capsys.readouterr().out
    options = ['--iterations', '5', '--min-confidence', '0.5', '--seed', '0', '--cfg-options', *SMALL]
    assert main(['distill', maps, '--out', student, *options]) == 0
    assert 'student of 3 classes' in capsys.readouterr().out
    files = ['--config', f'{student}/config.py', '--weights', f'{student}/student.safetensors']
    assert main(['segment', f'{shots}/0/0.png', *files, '--out', str(tmp_path / 'out'), '--device', 'cpu']) == 0
    answer = np.asarray(Image.open(tmp_path / 'out/0_labels.png'))
    assert answer.shape == (64, 80) and answer.max() < 3
