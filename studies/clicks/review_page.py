"""The page of ``denseclip review``: keep, drop and relabel by keys; what it saves can be applied."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from studies.clicks.visitor import Visitor

_SCORES = "return JSON.parse(document.getElementById('data').textContent).objects.map((object) => object.score)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What this page needs."""
    parser.add_argument('folder', type=Path, help='what denseclip label wrote, with its review.html')


def visit(visitor: Visitor, args: argparse.Namespace) -> None:
    """What a person does who looks through the labels.

    Raises:
        RuntimeError: If the decisions are not what was pressed, or cannot be applied.
    """
    visitor.opens((args.folder / 'review.html').resolve().as_uri())
    scores = [score for score in visitor.runs(_SCORES) if score is not None]
    visitor.sees('the most doubtful come first', lambda: scores == sorted(scores))
    visitor.sees('objects are drawn', lambda: visitor.all('article svg path'))
    total = len(visitor.all('article'))
    visitor.presses('k', 'd')
    visitor.sees('keys decide', lambda: visitor.find('count').text == f'2 of {total} decided')
    visitor.sees('a dropped object is pale', lambda: len(visitor.all('article.drop')) == 1)
    visitor.presses('ARROW_LEFT', 'u')
    visitor.sees('a decision is taken back', lambda: visitor.find('count').text == f'1 of {total} decided')
    visitor.all('article .x')[1].click()
    visitor.sees('a button decides, too', lambda: visitor.find('count').text == f'2 of {total} decided')
    visitor.takes(args.out)
    file = visitor.saves('decisions.json', visitor.find('save').click)
    actions = [found['action'] for found in json.loads(file.read_text())['decisions']]
    if sorted(actions) != ['drop', 'keep']:
        raise RuntimeError(f'the page saves {actions}')
    command = [sys.executable, '-m', 'denseclip', 'review', str(args.folder), '--apply', str(file)]
    if subprocess.run(command, check=False).returncode:
        raise RuntimeError('the decisions cannot be applied')
    print('seen: the decisions are applied')
    visitor.reads_the_log()
