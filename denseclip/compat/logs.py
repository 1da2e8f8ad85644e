"""What the host stack says, and where: whole in the log file, what matters on the terminal."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.logging import MMLogger

_LONG = (
    'Config:',
    '-' * 60 + '\nSystem environment:',
    'Hooks will be executed in the following order',
    'paramwise_options',
    'Name of parameter - Initialization information',
)
_ADVICE = re.compile(
    r'.* is skipped since its requires_grad=False$|The prefix is not set in metric class |"FileClient" will be '
    r'deprecated|"HardDiskBackend" is the alias|Distributed training is not used, all SyncBatchNorm'
)
_NOTHING_FOUND = 'The testing results of the whole dataset is empty.'


class BriefConsole(logging.Filter):
    """Keep off the terminal what only fills it.

    That is the config, the environment, lists of hooks and parameters, hundreds of lines, and what the host says to
    those who develop it.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is shown."""
        text = record.getMessage().lstrip('\n')
        if record.levelno <= logging.WARNING and _ADVICE.match(text):
            return False
        return record.levelno > logging.INFO or not text.startswith(_LONG)


class PlainWords(logging.Filter):
    """Say what the host reports as an error and is none."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record's text where need be; every record is kept."""
        if record.getMessage() == _NOTHING_FOUND:
            record.levelno, record.levelname = logging.WARNING, 'WARNING'
            record.msg, record.args = (
                'the detector found no object in any picture, so that every AP is 0: it is untrained, as early in a '
                'training, or test_cfg.score_thr is above all its scores',
                (),
            )
        return True


def shorten(logger: logging.Logger) -> None:
    """Show only what matters on the terminal; files get everything.

    Args:
        logger: Of a runner.
    """
    for handler in logger.handlers:
        if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
            handler.addFilter(BriefConsole())


def use_plain_words(logger: logging.Logger) -> None:
    """Say in plain words what the host calls an error and is none.

    Args:
        logger: Of a runner.
    """
    logger.addFilter(PlainWords())


@contextmanager
def without_advice() -> Iterator[None]:
    """Without warnings that the host packages give to those who develop them; other warnings are shown."""
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', category=UserWarning, module=r'(mmseg|mmdet|mmengine\.structures)\.')
        yield


@contextmanager
def quiet(least: int = logging.WARNING) -> Iterator[None]:
    """Without MMEngine's lists of every parameter that it initialises or, below ``ERROR``, does not optimise.

    Args:
        least: Level of what is still said.
    """
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(least)
    try:
        yield
    finally:
        logger.setLevel(level)
