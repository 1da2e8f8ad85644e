"""What is raised when a model cannot be exported."""

from denseclip.apis.errors import UserError


class ExportError(UserError):
    """A model cannot be exported; the message says why."""
