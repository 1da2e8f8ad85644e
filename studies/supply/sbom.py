"""A software bill of materials: what cyclonedx-bom finds here, as far as the suite brings it, and the weights."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from packaging.utils import canonicalize_name

from studies.supply.closure import ROOT, closure, extras
from studies.supply.licences import REPOSITORY

_VERSION = '1.6'


def environment() -> dict[str, Any]:
    """All that is installed here, in CycloneDX.

    Raises:
        SystemExit: cyclonedx-bom is not installed, or fails.
    """
    command = [sys.executable, '-m', 'cyclonedx_py', 'environment', '--output-reproducible', '--sv', _VERSION]
    command += ['--no-validate', '-o', '-', sys.executable]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ['no message'])[-1]
        raise SystemExit(f'cyclonedx-bom failed ({last}); pip install -e ".[supply]"')
    return dict(json.loads(done.stdout))


def bill(found: dict[str, Any]) -> dict[str, Any]:
    """The suite's part of a bill: the suite as its subject, what it brings, and the bundled weights.

    Args:
        found: See :func:`environment`.
    """
    kept = closure(extras())
    parts: dict[str, Any] = {canonicalize_name(part['name']): _without_folders(part) for part in found['components']}
    subject = parts[ROOT]
    components = [part for name, part in parts.items() if name in kept]
    references = {part['bom-ref'] for part in (subject, *components)}
    edges = [
        {**edge, 'dependsOn': [to for to in edge.get('dependsOn', ()) if to in references]}
        for edge in found['dependencies']
        if edge['ref'] in references
    ]
    return {
        **found,
        'metadata': {**found['metadata'], 'component': subject},
        'components': [*components, *weights()],
        'dependencies': edges,
    }


def _without_folders(part: dict[str, Any]) -> dict[str, Any]:
    """A component without addresses on this machine, which say nothing to others."""
    known = [one for one in part.get('externalReferences', ()) if not one['url'].startswith('file:')]
    return {**part, 'externalReferences': known}


def weights() -> list[dict[str, Any]]:
    """The weights that come with the package, with their sums."""
    zoo = yaml.safe_load((REPOSITORY / 'checkpoints' / 'model_zoo.yml').read_text(encoding='utf-8'))
    return [
        {
            'bom-ref': f'weights:{entry["name"]}',
            'type': 'machine-learning-model',
            'name': entry['name'],
            'hashes': [{'alg': 'SHA-256', 'content': entry['sha256']}],
            'licenses': [{'license': {'name': entry['licence']}}],
        }
        for entry in [*zoo['models'], *zoo['towers']]
        if entry.get('file')
    ]


def faults(text: str) -> Any:
    """What CycloneDX's schema finds wrong with a bill; None: nothing."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    return JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)


def write(target: Path) -> int:
    """Write the bill; returns how many components it has.

    Raises:
        SystemExit: The bill is not valid.
    """
    content = bill(environment())
    text = json.dumps(content, indent=1, ensure_ascii=False) + '\n'
    wrong = faults(text)
    if wrong is not None:
        raise SystemExit(f'the bill is not valid: {wrong}')
    target.write_text(text, encoding='utf-8')
    return len(content['components'])
