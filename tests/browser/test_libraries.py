import json
from pathlib import Path

import pytest

from denseclip.apis.errors import UserError
from denseclip.browser.libraries import FILES, LISTS, PAGE, fetch_libraries, read_libraries


def test_packages_are_pinned_with_their_sums() -> None:
    listed, locked = (json.loads((PAGE / name).read_text()) for name in LISTS)
    assert {place.rpartition('/dist/')[0] for place in FILES.values()} == set(listed['dependencies'])
    for name, package in locked['packages'].items():
        assert not name or package['integrity'].startswith('sha512-'), name
        assert 'resolved' not in package, 'packages come from whatever registry the machine uses'
    for name, version in listed['dependencies'].items():
        assert locked['packages'][f'node_modules/{name}']['version'] == version


def test_a_missing_library_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r'ort\.wasm\.bundle\.min\.mjs.*No such file'):
        read_libraries(tmp_path)


def npm(folder: Path, script: str) -> None:
    (folder / 'npm').write_text(f'#!/bin/sh\n{script}\n')
    (folder / 'npm').chmod(0o755)


def test_npm_fetches_into_a_folder_that_goes(tmp_path: Path, monkeypatch) -> None:
    tools, work = tmp_path / 'tools', tmp_path / 'work'
    tools.mkdir()
    lines = [f'/bin/mkdir -p node_modules/{Path(p).parent}; printf %s {p} > node_modules/{p}' for p in FILES.values()]
    npm(tools, '\n'.join(['test -f package-lock.json || exit 3', 'printf %s "$*" > ../asked', *lines]))
    monkeypatch.setenv('PATH', str(tools))
    assert fetch_libraries(work) == {name: place.encode() for name, place in FILES.items()}
    assert [path.name for path in work.iterdir()] == ['asked']
    assert '--ignore-scripts' in (work / 'asked').read_text()
    npm(tools, 'echo "npm error code E404" >&2; exit 1')
    with pytest.raises(UserError, match='npm cannot fetch onnxruntime-web: npm error code E404'):
        fetch_libraries(work)


def test_without_npm_a_folder_can_be_named(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv('PATH', str(tmp_path))
    with pytest.raises(UserError, match='--libraries DIR'):
        fetch_libraries(tmp_path)
