"""The paths of a server and what they take."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from importlib.resources import files
from typing import Annotated, Any

from fastapi import FastAPI, File, Form, Query, Request, UploadFile
from fastapi.responses import Response

from denseclip.apis.results.formats import FORMATS, formats_of
from denseclip.serving.asking import Asking
from denseclip.serving.guard import Guard
from denseclip.serving.metrics import MEDIA_TYPE, Metrics
from denseclip.serving.problems import Problem, ProblemModel, add_handlers
from denseclip.serving.schemas import (
    Boxes,
    Coco,
    Datumaro,
    Found,
    Health,
    Labelme,
    LabelStudioTask,
    Model,
    Segments,
    Word,
)
from denseclip.serving.service import ANOMALY, DETECT, SEGMENT, Service, Wanted, check_beside, described
from denseclip.version import __version__

PAGE = {
    '/': ('index.html', 'text/html; charset=utf-8'),
    '/page.js': ('page.js', 'text/javascript; charset=utf-8'),
    '/page.css': ('page.css', 'text/css; charset=utf-8'),
    '/icon.svg': ('icon.svg', 'image/svg+xml'),
}
_ABOUT = 'Pictures and words in, labelled pixels, objects or defects out. Errors are JSON and say what to do.'
_STATUS = {
    401: 'The token is missing or another one',
    403: 'The request comes from a page of another site',
    404: "The server's model does not do this",
    406: 'The form that is accepted does not exist',
    408: 'The upload took too long',
    413: 'The picture or the request is too large',
    422: 'A field cannot be used',
    429: 'Too many requests at a time',
    500: 'A fault of the server',
    501: 'The server lacks a package for this',
    503: 'The server is out of memory, or stops',
    504: 'It took too long',
    400: 'The body is no form',
}
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {'model': ProblemModel, 'description': text} for status, text in _STATUS.items()
}
_BINARY = {'schema': {'type': 'string', 'format': 'binary'}}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        'model': Found | Coco | Labelme | Datumaro | Boxes | list[LabelStudioTask] | Segments,
        'description': 'What was found',
        'content': {
            'image/png': _BINARY,
            'text/csv': {'schema': {'type': 'string'}},
            'image/tiff': _BINARY,
            'application/xml': {'schema': {'type': 'string'}},
        },
    },
    **_PROBLEMS,
}
_TEXT = 10**6  # characters of a field; how many words may be in it is a limit of the server

Image = Annotated[UploadFile, File(description='a picture: JPEG, PNG, WebP, BMP, GIF or TIFF')]
Words = Annotated[
    str | None,
    Form(
        description='classes separated by ";", further names after "=" separated by ","; or the name of a list such as '
        "ade20k; without it the model's own",
        examples=['road; car = automobile, vehicle; sky'],
        max_length=_TEXT,
    ),
]
Share = Annotated[float | None, Form(ge=0, le=1, allow_inf_nan=False)]
Text = Annotated[str | None, Form(max_length=1000)]
Named = Annotated[
    str | None,
    Form(description='which of the models that are served (GET /model); without it the first', max_length=200),
]
Shape = Annotated[
    str | None,
    Query(
        alias='format',
        description='another form of the answer than the usual JSON',
        json_schema_extra={'enum': sorted({row.name for row in FORMATS})},
    ),
]


def make_app(
    service: Service, metrics: Metrics | None = None, token: str | None = None, beside: Sequence[Service] = ()
) -> FastAPI:
    """A server's application.

    Args:
        service: Its model.
        metrics: Where it counts; the service should count its runs in the same.
        token: What requests must bring; None: nothing.
        beside: Further models that requests may name, to be compared with the first.

    Raises:
        UserError: If models cannot stand beside each other.
    """
    check_beside(service, beside)
    metrics = metrics or Metrics()
    services = (service, *beside)
    asking = {one.name: Asking(one) for one in services}

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        del app
        yield
        for one in services:
            await asyncio.to_thread(one.close)
            asking[one.name].close()

    app = FastAPI(
        title='DenseCLIP Suite',
        description=_ABOUT,
        version=__version__,
        lifespan=lifespan,
        docs_url=None,  # these pages take their scripts from another site
        redoc_url=None,
        redirect_slashes=False,
    )
    add_handlers(app)
    _add_questions(app, asking, service.name)
    _add_information(app, services, metrics)
    paths = tuple(route.path for route in app.routes if hasattr(route, 'path'))
    app.add_middleware(Guard, limits=service.limits, metrics=metrics, token=token, paths=paths)
    return app


def _add_questions(app: FastAPI, models: Mapping[str, Asking], first: str) -> None:
    """The paths that ask a model."""
    asking = models[first]

    @app.post('/segment', responses=_ANSWERS, summary='Label pixels by words')
    async def segment(
        request: Request,
        image: Image,
        words: Words = None,
        background: Text = None,
        min_confidence: Share = None,
        min_area: Share = None,
        task: Text = None,
        things: Text = None,
        model: Named = None,
        shape: Shape = None,
    ) -> Response:
        asked = _named(models, first, model)

        def wanted() -> tuple[Wanted, dict[str, Any]]:
            return asked.segment(
                words, background, task, things, {'min_confidence': min_confidence, 'min_area': min_area}
            )

        return await asked.answer(SEGMENT, request, image, wanted, shape)

    @app.post('/detect', responses=_ANSWERS, summary='Find objects')
    async def detect(
        request: Request,
        image: Image,
        score: Share = None,
        words: Words = None,
        things: Text = None,
        shape: Shape = None,
    ) -> Response:
        return await asking.answer(DETECT, request, image, lambda: asking.detect(words, things, score), shape)

    @app.post('/anomaly', responses=_ANSWERS, summary='Find defects')
    async def anomaly(
        request: Request,
        image: Image,
        object: Annotated[
            str, Form(description='what the picture shows', examples=['metal nut'], min_length=1, max_length=200)
        ],
        defects: Text = None,
        domain: Text = None,
        shape: Shape = None,
    ) -> Response:
        return await asking.answer(ANOMALY, request, image, lambda: asking.anomaly(object, domain, defects), shape)


def _named(models: Mapping[str, Asking], first: str, name: str | None) -> Asking:
    """The model that a request names.

    Raises:
        Problem: If it is not served.
    """
    found = models.get(name or first)
    if found is None:
        raise Problem(422, f"no model is called '{name:.40}' here: send model={', '.join(models)}, or leave it out.")
    return found


def _add_information(app: FastAPI, services: Sequence[Service], metrics: Metrics) -> None:
    """The paths that say what there is."""
    service = services[0]

    @app.get('/model', summary='What is served')
    async def model() -> Model:
        return Model(
            name=service.name,
            endpoints=list(service.endpoints),
            kinds=list(service.kinds),
            free_words=service.free_words,
            words=[Word(**word) for word in described(service.own_words)],
            formats={kind: list(formats_of(kind)) for kind in service.kinds},
            limits=asdict(service.limits),
            version=__version__,
            beside=[other.name for other in services[1:]],
        )

    @app.get('/healthz', summary='Whether it lives')
    async def healthz() -> Health:
        return Health(status='ok', model=service.name, waiting=sum(len(one.line) for one in services))

    @app.get(
        '/metrics',
        summary='Counts and times for Prometheus',
        response_class=Response,
        responses={200: {'content': {'text/plain': {'schema': {'type': 'string'}}}}, 401: _PROBLEMS[401]},
    )
    async def counts() -> Response:
        return Response(metrics.text(), media_type=MEDIA_TYPE)

    for path, (name, kind) in PAGE.items():
        content = files('denseclip.serving').joinpath('page', name).read_bytes()
        app.add_api_route(path, _constant(content, kind), methods=['GET'], include_in_schema=False)


def _constant(content: bytes, media_type: str) -> Any:
    async def get() -> Response:
        return Response(content, media_type=media_type)

    return get
