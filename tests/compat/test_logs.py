"""The terminal gets what matters, the file gets all."""

import io
import logging
from pathlib import Path

import pytest
from mmengine.logging import MMLogger

from denseclip.compat.logs import quiet, shorten, use_plain_words


@pytest.fixture
def logger(tmp_path: Path, request: pytest.FixtureRequest) -> MMLogger:
    return MMLogger(request.node.name, log_file=str(tmp_path / 'run.log'))


def written(tmp_path: Path) -> str:
    return (tmp_path / 'run.log').read_text()


@pytest.mark.parametrize(
    'text',
    ['Config:\nmodel = dict()', '\n' + '-' * 60 + '\nSystem environment:\n', 'paramwise_options -- a.weight:lr=0.1'],
)
def test_long_lists_go_to_the_file_alone(logger: MMLogger, tmp_path: Path, text: str) -> None:
    shorten(logger)
    stream = next(h for h in logger.handlers if type(h) is logging.StreamHandler)
    stream.setStream(shown := io.StringIO())
    logger.info(text)
    logger.info('Iter(train) [1/2]')
    logger.warning(text)
    assert shown.getvalue().count('Iter(train)') == 1
    assert shown.getvalue().count(text) == 1 and 'WARNING' in shown.getvalue()  # a warning is always shown
    assert text.strip().splitlines()[-1] in written(tmp_path) and 'Iter(train)' in written(tmp_path)


def test_advice_to_developers_goes_to_the_file_alone(logger: MMLogger, tmp_path: Path) -> None:
    shorten(logger)
    stream = next(h for h in logger.handlers if type(h) is logging.StreamHandler)
    stream.setStream(shown := io.StringIO())
    logger.warning('backbone.bn1.weight is skipped since its requires_grad=False')
    logger.warning('the recipe is for a batch of 4')
    assert 'skipped' not in shown.getvalue() and 'recipe' in shown.getvalue()
    assert 'skipped' in written(tmp_path)


def test_what_is_no_error_is_said_plainly(logger: MMLogger, tmp_path: Path) -> None:
    use_plain_words(logger)
    logger.error('The testing results of the whole dataset is empty.')
    logger.error('something else')
    assert 'WARNING - the detector found no object' in written(tmp_path)
    assert ' - ERROR - ' in written(tmp_path) and 'something else' in written(tmp_path)
    assert 'is empty' not in written(tmp_path)


def test_quiet_gives_the_level_back_after_errors() -> None:
    logger = MMLogger.get_current_instance()
    before = logger.level
    with pytest.raises(ValueError, match='x'), quiet():
        assert logger.level == logging.WARNING
        raise ValueError('x')
    assert logger.level == before
