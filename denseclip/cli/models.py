"""``denseclip models``: what can be loaded by name."""

from __future__ import annotations

import argparse

from denseclip.cli.options import add_json_option
from denseclip.cli.talk import emit

HELP = 'list the models that can be loaded by name'
EPILOG = 'example: denseclip models --task panoptic'


def add_options(parser: argparse.ArgumentParser) -> None:
    """Words and options of the command."""
    parser.add_argument(
        '--task', choices=('semantic', 'panoptic', 'instance', 'anomaly'), help='only those that give it'
    )
    parser.add_argument('--kind', choices=('zoo', 'preset', 'method'), help='only these')
    add_json_option(parser, 'a line of JSON for each model')


def run(args: argparse.Namespace) -> int:
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
            export = 'exports' if card.exportable else 'no export'
            print(f'  {card.name:<{room}}  {"/".join(card.tasks)}; {needs}; {export}; {card.line}')
    print("no export: 'denseclip export NAME --out DIR' says why")
    return 0
