"""Signs of life appear on terminals only, and never change what is passed on."""

import io

from rich.console import Console

from denseclip.cli import progress


def test_items_pass_and_pipes_stay_clean(capsys):
    with progress.busy('loading'):
        assert list(progress.track(range(3), 3, 'working')) == [0, 1, 2]
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ('', '')


def test_terminals_see_the_count(monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr(progress, 'Console', lambda **_: Console(file=screen, force_terminal=True, width=80))
    assert list(progress.track('ab', 2, 'segmenting [a]')) == ['a', 'b']
    assert 'segmenting [a]' in screen.getvalue()
    assert '2/2' in screen.getvalue()
