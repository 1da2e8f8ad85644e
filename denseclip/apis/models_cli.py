"""The command ``denseclip models``."""

from __future__ import annotations

import argparse
from typing import Any

from denseclip.apis.command_options import add_json_option
from denseclip.apis.talk import emit

_EXAMPLE = 'example: denseclip models --task panoptic'


def add_parser(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to the program's."""
    parser = commands.add_parser(
        'models', parents=[common], help='list the models that can be loaded by name', epilog=_EXAMPLE
    )
    parser.add_argument(
        '--task', choices=('semantic', 'panoptic', 'instance', 'anomaly'), help='only those that give it'
    )
    parser.add_argument('--kind', choices=('zoo', 'preset', 'method'), help='only these')
    add_json_option(parser, 'a line of JSON for each model')
    parser.set_defaults(run=run_models)


def run_models(args: argparse.Namespace) -> int:
    """Print the list."""
    from denseclip.apis.catalogue import list_models

    cards = list_models(args.task, args.kind)
    if args.json:
        for card in cards:
            emit(args.output, card.to_dict())
        return 0
    room = max(len(card.name) for card in cards)
    titles = {
        'zoo': 'zoo: a config and its weights',
        'preset': 'presets: training-free methods on any CLIP (--clip, --pretrained)',
        'method': 'methods: with the config of their published weights',
    }
    for kind, title in titles.items():
        rows = [card for card in cards if card.kind == kind]
        if rows:
            print(title)
        for card in rows:
            needs = f'needs {", ".join(card.needs)}' if card.needs else 'ready'
            print(f'  {card.name:<{room}}  {"/".join(card.tasks)}; {needs}; {card.line}')
    return 0
