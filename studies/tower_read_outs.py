"""Which read-outs the towers of open_clip's architectures answer, as a table for docs/towers.md.

Example:
    python -m studies.tower_read_outs            # print the table
    python -m studies.tower_read_outs --write    # put it into docs/towers.md
"""

from __future__ import annotations

import json
import re
import sys
from collections import defaultdict
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

import open_clip
from open_clip.model import _build_vision_tower

from denseclip.clip.towers import DenseReadOut, build_image_tower

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / 'docs' / 'towers.md'
BEGIN, END = '<!-- read-outs: begin -->', '<!-- read-outs: end -->'
sys.path.insert(0, str(ROOT / 'tests' / 'helpers'))
from read_outs import READ_OUTS  # noqa: E402
from shrunk_clips import shrunk_config, shrunk_trunks  # noqa: E402


def rows() -> list[tuple[str, list[str]]]:
    """Name patterns of every row of the page's first table, as they stand there and apart."""
    found = re.findall(r'^\| (`.*?) \| `\w+Tower` \|', PAGE.read_text(encoding='utf-8'), flags=re.MULTILINE)
    return [(names, re.findall('`(.+?)`', names)) for names in found]


def answers(architecture: str) -> dict[str, str]:
    """Empty, or the reason of the refusal, by read-out; of the architecture with fewer layers and random weights."""
    config = shrunk_config(architecture)
    return _answers(json.dumps([config['embed_dim'], config['vision_cfg']], sort_keys=True))


@cache
def _answers(described: str) -> dict[str, str]:
    """The same for the description of an image tower: architectures that shrink to the same one are built once."""
    embed_dim, vision = json.loads(described)
    with shrunk_trunks():
        visual: Any = _build_vision_tower(embed_dim, vision).eval()
    found = {}
    for name, settings in READ_OUTS.items():
        try:
            build_image_tower(visual, DenseReadOut(**settings))
            found[name] = ''
        except ValueError as error:
            found[name] = str(error)
    return found


def table(architectures: list[str] | None = None) -> str:
    """The table as Markdown; a row of the page that none of the architectures belongs to is left out."""
    by_row: dict[str, list[dict[str, str]]] = defaultdict(list)
    for architecture in architectures or open_clip.list_models():
        fitting = next(names for names, parts in rows() if any(fnmatch(architecture, part) for part in parts))
        by_row[fitting].append(answers(architecture))
    lines = ['| architectures | ' + ' | '.join(READ_OUTS) + ' |', '|---' * (len(READ_OUTS) + 1) + '|']
    for names, _ in rows():
        found = by_row.get(names, [])
        if not found:
            continue
        cells = []
        for name in READ_OUTS:
            good = sum(not each[name] for each in found)
            cells.append('yes' if good == len(found) else '–' if not good else f'{good} of {len(found)}')
        lines.append(f'| {names} | ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines)


def main(argv: list[str]) -> int:
    """Print or write the table."""
    found = table()
    if '--write' not in argv:
        print(found)
        return 0
    page = PAGE.read_text(encoding='utf-8')
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    PAGE.write_text(f'{before}{BEGIN}\n{found}\n{END}{after}', encoding='utf-8')
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
