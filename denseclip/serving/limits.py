"""What one request may cost."""

from __future__ import annotations

from dataclasses import dataclass

from denseclip.apis.errors import UserError


@dataclass(frozen=True)
class Limits:
    """Limits of a server.

    Attributes:
        megabytes: Of a request's body.
        megapixels: Of a picture.
        words: Names of classes, synonyms counted.
        requests: Requests at a time, those that wait and those that are computed.
        seconds: From the first byte of a request to its answer.
        batch: Pictures that run together.

    Raises:
        UserError: If one of them is not above 0.
    """

    megabytes: float = 20
    megapixels: float = 25
    words: int = 300
    requests: int = 64
    seconds: float = 60
    batch: int = 8

    def __post_init__(self) -> None:
        options = {
            '--max-megabytes': self.megabytes,
            '--max-megapixels': self.megapixels,
            '--max-words': self.words,
            '--queue': self.requests,
            '--timeout': self.seconds,
            '--batch-size': self.batch,
        }
        for option, value in options.items():
            if not 0 < value < float('inf'):
                raise UserError(f'{option} {value:g} must be above 0.')

    @property
    def bytes(self) -> int:
        """Of a request's body."""
        return int(self.megabytes * 1e6)

    @property
    def pixels(self) -> int:
        """Of a picture."""
        return int(self.megapixels * 1e6)

    @property
    def characters(self) -> int:
        """Of a field of words."""
        return 100 * self.words
