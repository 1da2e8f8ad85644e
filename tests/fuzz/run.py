"""Feed drawn input to what reads people's files, for as long as you like: ``python tests/fuzz/run.py vocabularies``.

Each target is a property of hypothesis (``tests/fuzz/targets``). With atheris (``pip install atheris``) inputs are
chosen by the coverage of the suite's code, and those that reach something new are kept in
``tests/fuzz/corpus/TARGET.zip``; without it hypothesis draws at random. A failure prints the property's arguments and
ends with exit code 1.

Nothing here runs in the test suite: pytest collects no file of this folder.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from pathlib import Path

HERE = Path(__file__).parent
TARGETS = tuple(sorted(path.stem for path in (HERE / 'targets').glob('[!_]*.py')))
_CHILD = 'DENSECLIP_FUZZ_OPTIONS'  # set in the process that libFuzzer ends when it is done


def load(name: str):
    """The property of a target: a function that hypothesis gives its arguments."""
    sys.path[:0] = [str(HERE / 'targets'), str(HERE.parents[1])]
    spec = importlib.util.spec_from_file_location(name, HERE / 'targets' / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.holds


def run_plainly(name: str, seconds: float) -> int:
    """Draw inputs at random."""
    from hypothesis import seed

    holds = load(name)
    end, count = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        count += 1
        seed(count)(holds)()
    print(f'{name}: {count} times as many inputs as the property draws, no failure')
    return 0


def run_by_coverage(name: str, seconds: float) -> int:
    """Go on from the corpus, then add the inputs that reached something new to it."""
    packed = HERE / 'corpus' / f'{name}.zip'
    with tempfile.TemporaryDirectory() as scratch:
        new, old = Path(scratch) / 'new', Path(scratch) / 'old'
        new.mkdir()
        old.mkdir()
        if packed.is_file():
            with zipfile.ZipFile(packed) as archive:
                archive.extractall(old)
        code = _child(name, f'-max_total_time={seconds:.0f} -artifact_prefix={scratch}/ {new} {old}')
        if code:
            print(f'{name}: failed, see the arguments above')
            return 1
        packed.parent.mkdir(exist_ok=True)
        with zipfile.ZipFile(packed, 'w', zipfile.ZIP_DEFLATED) as archive:
            for path in sorted([*old.iterdir(), *new.iterdir()]):
                archive.writestr(zipfile.ZipInfo(path.name), path.read_bytes())
    return 0


def _child(name: str, options: str) -> int:
    return subprocess.run([sys.executable, __file__, name], env={**os.environ, _CHILD: options}, check=False).returncode


def fuzz(name: str, options: list[str]) -> None:
    """Let atheris choose inputs; libFuzzer ends the process itself."""
    import atheris

    with atheris.instrument_imports(include=['denseclip'], enable_loader_override=False):
        holds = load(name)
    one = holds.hypothesis.fuzz_one_input

    def check(data: bytes) -> None:
        try:
            one(data)
        except Exception:
            try:
                holds()  # hypothesis has kept the input: it makes it small
            except BaseException as found:
                traceback.print_exception(found)  # with the arguments as a note
            raise

    atheris.Setup(
        [name, '-max_len=4096', '-timeout=120', '-rss_limit_mb=6000', '-print_final_stats=1', *options], check
    )
    atheris.Fuzz()


def main() -> int:
    """Run one target."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('target', choices=TARGETS)
    parser.add_argument('--minutes', type=float, default=20)
    parser.add_argument('--plain', action='store_true', help='random inputs, even if atheris is there')
    args = parser.parse_args()
    warnings.simplefilter('ignore')
    os.environ.setdefault('HF_HUB_OFFLINE', '1')
    if _CHILD in os.environ:
        fuzz(args.target, os.environ[_CHILD].split())
    guided = importlib.util.find_spec('atheris') is not None and not args.plain
    return (run_by_coverage if guided else run_plainly)(args.target, 60 * args.minutes)


if __name__ == '__main__':
    sys.exit(main())
