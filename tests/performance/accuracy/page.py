"""Putting what was measured into a page, between marks that name it."""

from __future__ import annotations

import re
from collections.abc import Mapping


def filled(page: str, parts: Mapping[str, str]) -> str:
    """Put texts between the marks of a page, in place of what stands there.

    Args:
        page: Markdown, with `<!-- measured: NAME -->` before and `<!-- /measured -->` after each place.
        parts: Texts by name; those that the page has no place for are left out.

    Raises:
        ValueError: If the page has no place at all, or names one that there is no text for.
    """
    places = MARK.findall(page)
    if not places:
        raise ValueError("the page has no place for what was measured")
    for place in places:
        if place not in parts:
            raise ValueError(f"there is no text for '{place}'")
    return PLACE.sub(
        lambda found: f"<!-- measured: {found[1]} -->\n\n{parts[found[1]].strip()}\n\n<!-- /measured -->",
        page,
    )


MARK = re.compile(r"<!-- measured: ([\w-]+) -->")
PLACE = re.compile(MARK.pattern + r".*?<!-- /measured -->", re.DOTALL)
