"""From a request to its answer: fields are checked, the picture is read, the model is asked, the result is written."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

from fastapi import Request, UploadFile
from fastapi.responses import Response

from denseclip.clip.anomaly_prompts.builder import defect_words
from denseclip.serving.answers import Answer, render, wanted_format
from denseclip.serving.pictures import check_strip, label_of, read_picture
from denseclip.serving.problems import Problem, check_fields, of_error
from denseclip.serving.service import ANOMALY, DETECT, SEGMENT, Service, Wanted, described, words_of

_LOOK_AGAIN = 0.5  # seconds between looks whether the asker is still there
Prepared = tuple[Wanted, dict[str, Any]]


class Asking:
    """Answers the requests of one service.

    Args:
        service: The model and its line.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        # Few threads: each holds a whole picture while it reads or writes one.
        self._beside = ThreadPoolExecutor(min(4, os.cpu_count() or 1), 'pictures')

    def close(self) -> None:
        """Stop the threads."""
        self._beside.shutdown()

    async def answer(
        self, endpoint: str, request: Request, image: UploadFile, prepare: Callable[[], Prepared], shape: str | None
    ) -> Response:
        """Answer a request, or say why not.

        Args:
            endpoint: What was asked.
            request: The request.
            image: Its picture.
            prepare: Reads the other fields; gives what the model is asked, and what the answer says besides.
            shape: Its ``?format=``.

        Raises:
            Problem: If it cannot be answered.
        """
        start = time.monotonic()
        left = request.state.deadline - start
        try:
            found = await asyncio.wait_for(self._found(endpoint, request, image, prepare, shape), max(0.0, left))
        except asyncio.TimeoutError as error:
            raise Problem(
                504,
                f'there was no answer within {self._service.limits.seconds:g} s (--timeout): send a smaller picture or '
                'fewer words, or try again when less is asked.',
            ) from error
        except Exception as error:
            problem = of_error(error)
            if problem is error:
                raise
            raise problem from error
        headers = {}
        if found.filename is not None:
            headers['content-disposition'] = f"inline; filename*=UTF-8''{quote(found.filename)}"
        return Response(found.content, media_type=found.media_type, headers=headers)

    async def _found(
        self, endpoint: str, request: Request, image: UploadFile, prepare: Callable[[], Prepared], shape: str | None
    ) -> Answer:
        start = time.perf_counter()
        self._service.check(endpoint)
        form = await request.form()
        check_fields([name for name, _ in form.multi_items()], _fields(request))
        check_options(request)
        wanted, extra = prepare()
        form_of_answer = wanted_format(shape, request.headers.get('accept', ''), wanted.kind)
        loop = asyncio.get_running_loop()
        data = await image.read()
        picture = await loop.run_in_executor(self._beside, read_picture, data, image.filename, self._service.limits)
        if endpoint == ANOMALY:
            check_strip(picture)
        del data
        result = await self._wait(self._service.ask(picture, wanted), request)
        extra = {**extra, 'model': self._service.name, 'seconds': round(time.perf_counter() - start, 3)}
        return await loop.run_in_executor(self._beside, render, result, form_of_answer, label_of(image.filename), extra)

    async def _wait(self, answer: Future[Any], request: Request) -> Any:
        """The result, unless the asker goes away before it is that request's turn."""
        waiting = asyncio.wrap_future(answer)
        try:
            while not (await asyncio.wait([waiting], timeout=_LOOK_AGAIN))[0]:
                if await request.is_disconnected():
                    raise Problem(499, 'the sender went away.')
            return waiting.result()
        finally:  # whoever stops waiting, for whatever reason, leaves the line
            waiting.cancel()

    # --- what the fields mean --------------------------------------------------------------------------------------

    def segment(
        self,
        words: str | None,
        background: str | None,
        task: str | None,
        things: str | None,
        least: Mapping[str, float | None],
    ) -> Prepared:
        """What the fields of ``/segment`` ask of the model.

        Raises:
            Problem: If they cannot be used.
            VocabularyError: If words cannot.
        """
        kinds = self._service.kinds
        kind = task or kinds[0]
        if kind not in kinds:
            raise Problem(
                422, f"this model gives no '{kind:.40}' results: send task={', '.join(kinds)}, or leave it out."
            )
        options = {key: value for key, value in least.items() if value is not None}
        return self._with_words(kind, words, background, things, options)

    def detect(self, words: str | None, things: str | None, score: float | None) -> Prepared:
        """What the fields of ``/detect`` ask of the model; errors as of :meth:`segment`."""
        if SEGMENT in self._service.endpoints:  # a model of several kinds
            options = {} if score is None else {'min_confidence': score}
            return self._with_words('instance', words, None, things, options)
        if words is not None or things is not None:
            raise Problem(422, "a detector tells apart the classes of its training: leave 'words' and 'things' out.")
        options = {} if score is None else {'score': score}
        return Wanted('instance', None, tuple(options.items())), {'words': [], 'notes': []}

    def anomaly(self, object: str, domain: str | None, defects: str | None) -> Prepared:
        """What the fields of ``/anomaly`` ask of the model; errors as of :meth:`segment`."""
        if not object.strip():
            raise Problem(422, "field 'object' is empty: say what the picture shows, such as metal nut.")
        phrases = [phrase for phrase in (domain or '').split(';') if phrase.strip()]
        number = max(1, len(phrases)) * max(1, len(defect_words(defects)))  # each defect is said in each phrase
        if number > self._service.limits.words:
            raise Problem(
                422,
                f"the phrases of 'domain' and the words of 'defects' make {number:,} names, and this server takes "
                f'{self._service.limits.words} (--max-words): send fewer.',
            )
        said = {'object': object.strip(), 'domain': domain or None, 'defects': defects or None}
        return Wanted('anomaly', None, tuple(said.items())), {'words': [], 'notes': []}

    def _with_words(
        self, kind: str, words: str | None, background: str | None, things: str | None, options: dict[str, Any]
    ) -> Prepared:
        service = self._service
        found, notes = words_of(words, background, service.limits)
        found = service.check_words(found)
        if things is not None:
            if DETECT not in service.endpoints:
                raise Problem(422, "this model counts nothing: leave the field 'things' out.")
            options = {**options, 'things': things}
        told = {'words': described(found or service.own_words), 'notes': list(notes)}
        return Wanted(kind, found, tuple(sorted(options.items()))), told


def _fields(request: Request) -> list[str]:
    """Names of the form's fields that the path of a request takes."""
    return [field.alias for field in request.scope['route'].dependant.body_params]


def check_options(request: Request) -> None:
    """Refuse what stands behind the ``?`` and is no option: fields belong into the form.

    Raises:
        Problem: Then.
    """
    for name in request.query_params:
        if name != 'format':
            raise Problem(422, f"there is no option '?{name:.40}='; fields belong into the form, and ?format= is all.")
