"""HTML from pieces. Text is escaped where it is put in: replies of models are anybody's text."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Iterable
from pathlib import Path

VOID = frozenset({"meta", "input"})
"""Elements of HTML without an end; those of SVG need one."""
HERE = Path(__file__).parent


class Html(str):
    """Markup that is whole and safe; every other text is escaped."""

    __slots__ = ()


def tag(name: str, *inside: str | None, **attributes: str | float | bool | None) -> Html:
    """Build an element.

    Args:
        name: Of the element.
        inside: Its content, in order: markup as it is, other text escaped; None is left out.
        attributes: `class_` for `class`, `data_task` for `data-task`; None and False are left out, True is
            an attribute without a value.
    """
    written = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in VOID:
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{join(inside)}</{name}>")


def join(parts: Iterable[str | None]) -> Html:
    """Put markup and text one after the other."""
    return Html("".join(safe(part) for part in parts if part is not None))


def safe(text: str) -> Html:
    """Give markup as it is, and other text escaped."""
    return text if isinstance(text, Html) else Html(html.escape(text))


def _attribute(key: str, value: str | float | bool | None) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    if value is True:
        return f" {name}"
    written = f"{value:g}" if isinstance(value, float) else str(value)
    return f' {name}="{html.escape(written)}"'


def embedded(id: str, value: object) -> Html:
    """Put a value into the page for its script, so that nothing in it can end the element it is in."""
    written = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    quiet = written.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return Html(f'<script type="application/json" id="{html.escape(id)}">{quiet}</script>')


def document(title: str, *body: str) -> str:
    """Give a whole page with style and script inside.

    Its policy loads nothing from anywhere and runs no script but its own, known by its digest: whatever a
    reply contains, it is never more than text.
    """
    style, script = (HERE / "page.css").read_text("utf-8"), (HERE / "page.js").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )
    head = tag(
        "head",
        Html('<meta charset="utf-8">'),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name_="color-scheme", content="light dark"),
        tag("title", title),
        Html(f"<style>{style}</style>"),
    )
    whole = tag("body", *body, Html(f"<script>{script}</script>"))
    return f"<!doctype html>\n{tag('html', head, whole, lang='en')}\n"
