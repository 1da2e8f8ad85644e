"""Pages that need nothing else: templates of this package, in which all that is put into them is text, never markup."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from denseclip.files.names import shown

if TYPE_CHECKING:
    from jinja2 import Template


def template(name: str) -> Template:
    """A template of ``denseclip.visualization``; control characters, unknown to HTML, come out as escapes.

    Args:
        name: Its file.
    """
    from jinja2 import Environment, PackageLoader
    from markupsafe import Markup

    def text(value: Any) -> Any:
        plain = isinstance(value, str) and not isinstance(value, Markup)
        return shown(value, keep='\n\t') if plain else value

    loader = PackageLoader('denseclip.visualization', '.')
    return Environment(loader=loader, autoescape=True, finalize=text).get_template(name)
