"""Commands, a file for each: the words and options that it takes, and the function that they are handed to.

A command is a module with ``HELP`` (one line), ``add_options(parser)`` and ``run(args) -> int``. Importing it loads
neither torch nor the host stack, so that ``--help`` and wrong options are answered at once; ``run`` imports what it
needs. The same module is ``denseclip NAME`` (:func:`denseclip.cli.doors.add_command`) and, from a checkout,
``tools/NAME.py`` (:func:`denseclip.cli.doors.run_alone`).
"""

from denseclip.cli import (
    adapt,
    anomaly,
    benchmark,
    check,
    config,
    convert,
    detect,
    distill,
    doctor,
    download,
    export,
    label,
    miniworld,
    models,
    new_dataset,
    page,
    review,
    segment,
    serve,
    stress,
    test,
    train,
)

COMMANDS = {
    'segment': segment,
    'detect': detect,
    'anomaly': anomaly,
    'label': label,
    'review': review,
    'distill': distill,
    'adapt': adapt,
    'models': models,
    'miniworld': miniworld,
    'new-dataset': new_dataset,
    'train': train,
    'test': test,
    'stress': stress,
    'check': check,
    'config': config,
    'convert': convert,
    'benchmark': benchmark,
    'download': download,
    'export': export,
    'page': page,
    'serve': serve,
    'doctor': doctor,
}
"""Word of the command line to the module of its command."""
