"""``python -m denseclip``: the ``denseclip`` command."""

import sys

from denseclip.cli.main import main

sys.exit(main())
