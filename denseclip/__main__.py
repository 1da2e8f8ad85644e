"""``python -m denseclip``: the ``denseclip`` command."""

import sys

from denseclip.apis.cli import main

sys.exit(main())
