"""Known weaknesses of the tested versions, as PyPI tells them; without its answer, a sentence that says so."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from studies.supply.licences import REPOSITORY

ACCEPTED: Mapping[str, str] = {}
"""Advisory to the reason why it does not touch the suite."""


def ask() -> tuple[list[Mapping[str, Any]], str]:
    """Ask pip-audit about ``requirements/tested.txt``.

    Returns:
        What it says of each package, and the last line of its errors.

    Raises:
        SystemExit: It is not installed.
    """
    if find_spec('pip_audit') is None:
        raise SystemExit("pip-audit is not installed here, so nothing was asked; pip install -e '.[supply]'")
    command = [sys.executable, '-m', 'pip_audit', '-r', str(REPOSITORY / 'requirements' / 'tested.txt')]
    command += ['--no-deps', '--disable-pip', '-f', 'json', '--progress-spinner', 'off']
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        found = json.loads(done.stdout)['dependencies']
    except (ValueError, KeyError):
        found = []
    return found, (done.stderr.strip().splitlines() or [''])[-1]


def told(found: list[Mapping[str, Any]], error: str) -> tuple[list[str], int]:
    """What to say of an answer, and the exit code: 1 for a weakness that nobody has looked at, else 0.

    Args:
        found: See :func:`ask`.
        error: See :func:`ask`.
    """
    asked = [part for part in found if 'vulns' in part]
    if not asked:
        reason = next((part['skip_reason'] for part in found if 'skip_reason' in part), error) or 'no answer'
        return [
            f'no advisories could be had ({reason:.200}): nothing is known of these versions; ask where a network is.'
        ], 0
    lines, open_ones = [], 0
    for part in asked:
        for one in part['vulns']:
            why = next((ACCEPTED[name] for name in (one['id'], *one.get('aliases', ())) if name in ACCEPTED), None)
            open_ones += why is None
            fixed = ', '.join(one.get('fix_versions', ())) or 'no version'
            lines.append(
                f'{part["name"]} {part["version"]}: {one["id"]}, mended in {fixed}{f" ({why})" if why else ""}'
            )
    skipped = len(found) - len(asked)
    lines.append(
        f'{len(asked)} packages asked, {open_ones} weaknesses open' + (f', {skipped} not known' * bool(skipped))
    )
    return lines, int(open_ones > 0)
