"""Label a real photograph by words: what `make demo` runs. Works offline, overwrites only its own folder.

The photograph is china.jpg of scikit-learn; other pictures and words take the same options as `denseclip segment`:

    python tools/demo.py
    python tools/demo.py street.jpg --classes "road; car=automobile,vehicle; sky" --out results
"""

import sys
from importlib.util import find_spec
from pathlib import Path

from denseclip.apis.errors import UserError
from denseclip.cli.doors import lean_script
from denseclip.cli.main import main as denseclip
from denseclip.cli.programs import program

CLASSES = 'temple; sky; trees'
OUT = 'demo_out'


def default_picture() -> Path:
    """The photograph inside the scikit-learn package, found without importing it."""
    spec = find_spec('sklearn')
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / 'datasets' / 'images' / 'china.jpg'
        if path.is_file():
            return path
    raise UserError(
        "the demo's photograph comes with scikit-learn: pip install 'denseclip-suite[mm,demo]', or name a picture."
    )


@program
def main(argv: list[str]) -> int:
    """Segment the pictures that are named, else the photograph."""
    lean_script('demo.py')
    return denseclip(['segment', *(argv or [str(default_picture()), '--classes', CLASSES, '--out', OUT, '--force'])])


if __name__ == '__main__':
    sys.exit(main())
