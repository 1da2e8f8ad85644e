"""``denseclip review``: what a user types and sees."""

import json

from drawn_teacher import DrawnTeacher, draw_picture

from denseclip.apis.labelling.folder import Order, label_folder
from denseclip.apis.labelling.store import Store
from denseclip.cli.main import main


def test_page_and_decisions(tmp_path, capsys):
    draw_picture(tmp_path / 'shots/a.png', 0)
    out = tmp_path / 'out'
    label_folder(tmp_path / 'shots', out, lambda: DrawnTeacher(), Order('labelme'))
    assert main(['review', str(out)]) == 0
    assert '3 objects to look at' in capsys.readouterr().out and (out / 'review.html').is_file()
    content = {'kind': 'denseclip decisions', 'version': 1, 'labels': Store(out).opened().id, 'decisions': []}
    path = tmp_path / 'decisions.json'
    content['decisions'] = [{'picture': 'a', 'object': 1, 'action': 'drop'}]
    path.write_text(json.dumps(content))
    assert main(['review', str(out), '--apply', str(path)]) == 0
    said = capsys.readouterr().out
    assert 'applied: drop 1' in said and '2 objects to look at' in said
    assert len(json.loads((out / 'a.json').read_text())['shapes']) >= 2
    path.write_text('{')
    assert main(['review', str(out), '--apply', str(path)]) == 2
    assert 'decisions.json' in capsys.readouterr().err
    assert main(['review', str(tmp_path / 'shots')]) == 2
    assert 'denseclip label' in capsys.readouterr().err
