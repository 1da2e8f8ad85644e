"""What cannot be answered, as JSON: a sentence that says what to do."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from denseclip.files.names import shown

_LOG = logging.getLogger('denseclip.serving')
_LONGEST = 500
_GONE = 'Client Closed Request'  # what nginx calls 499; nobody reads it, it is counted


class Problem(HTTPException):
    """A request that is refused.

    Args:
        status: Of the answer.
        sentence: What is wrong, and what to do.
        headers: Of the answer.
    """

    def __init__(self, status: int, sentence: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(status, sentence, headers)


class ProblemModel(BaseModel):
    """An answer that is none."""

    status: int = Field(description='as in the status line')
    title: str = Field(description='the same in words')
    detail: str = Field(description='what is wrong, and what to do')


def problem_response(status: int, sentence: str, headers: Any = None) -> JSONResponse:
    """A problem as an answer; the sentence on one line, without control characters."""
    text = shown(' '.join(sentence.split()))
    if len(text) > _LONGEST:  # what was sent stands in the middle, and what to do at the end
        text = f'{text[: _LONGEST // 2]} ... {text[-_LONGEST // 2 :]}'
    content = {'status': status, 'title': _GONE if status == 499 else HTTPStatus(status).phrase, 'detail': text}
    return JSONResponse(content, status, dict(headers or {}))


def of_error(error: BaseException) -> Problem:
    """What an error of a model means to the one who asked.

    Errors of the suite that somebody can cure say so themselves. All others are the server's: they are logged, and not
    shown.
    """
    if isinstance(error, Problem):
        return error
    if isinstance(error, ValueError) and type(error).__module__.startswith('denseclip.'):
        return Problem(422, str(error))
    if isinstance(error, ImportError) and str(error):
        return Problem(501, f'this server lacks a package: {error}')
    if isinstance(error, MemoryError) or 'out of memory' in str(error).lower():
        _LOG.error('out of memory', exc_info=error)
        return Problem(503, 'the server ran out of memory: send a smaller picture or fewer words.')
    _LOG.error('a request failed', exc_info=error)
    return Problem(500, "this is a fault of the server, not of the request; the server's log says more.")


def check_fields(given: Sequence[str], known: Sequence[str]) -> None:
    """Refuse fields that would be forgotten, and those that are there twice.

    Raises:
        Problem: Then.
    """
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean '{near[0]}'? " if near else ''
            raise Problem(422, f"there is no field '{name:.40}'; {hint}There are {', '.join(known)}.")
        if given.count(name) > 1:
            raise Problem(
                422, f"field '{name}' is there {given.count(name)} times: send one; one request, one picture."
            )


def add_handlers(app: FastAPI) -> None:
    """Let an application answer problems of all kinds in the same form."""

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> JSONResponse:
        return problem_response(error.status_code, _sentence(request, error), error.headers)

    @app.exception_handler(RequestValidationError)
    async def unfit(request: Request, error: RequestValidationError) -> JSONResponse:
        del request
        return problem_response(422, _field_sentence(error.errors()[0]))

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> JSONResponse:
        del request
        found = of_error(error)
        return problem_response(found.status_code, found.detail)


def _sentence(request: Request, error: HTTPException) -> str:
    """The framework's refusals in our words."""
    if isinstance(error, Problem):
        return error.detail
    path, method = request.url.path, request.method
    if error.status_code == 404:
        return f"there is nothing at '{path:.80}'; see /openapi.json for what there is."
    if error.status_code == 405:
        return f'{path} takes no {method}; see /openapi.json for what it takes.'
    if error.status_code == 400:
        return f'the body is no readable form ({error.detail}): send multipart/form-data with the picture as image.'
    return str(error.detail)


def _field_sentence(error: Any) -> str:
    """What pydantic says of the first field that does not fit, as a sentence."""
    where, name = (*error['loc'], '')[:2]
    what = f"'{name}'" if where == 'body' else f"'?{name}='"
    if error['type'] == 'missing':
        how = ': send the picture as a file in multipart/form-data' if name == 'image' else ''
        return f'field {what} is missing{how}.'
    if name == 'image':
        return "field 'image' must be a file: send it with a file name, in multipart/form-data."
    given = '' if error.get('input') is None else f', not {error["input"]!r:.60}'
    text = str(error['msg']).removeprefix('Input ').removeprefix('Value error, ')
    return f'field {what} {text}{given}.'
