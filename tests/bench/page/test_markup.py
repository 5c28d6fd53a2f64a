"""Markup from pieces: whatever text goes in stays text."""

import json
from html.parser import HTMLParser

from st_llm_cli.bench.page.markup import Html, document, embedded, join, tag

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(1)>&\"'\u2028"


def test_text_is_escaped_and_markup_is_not() -> None:
    assert tag("p", "a < b", tag("b", "&")) == "<p>a &lt; b<b>&amp;</b></p>"
    assert join(("<", Html("<i></i>"), None)) == "&lt;<i></i>"


def test_attributes_are_escaped_and_named_as_in_html() -> None:
    made = tag("a", class_="x", data_task='"><script>', hidden=True, title=None, x=1.50)
    assert made == '<a class="x" data-task="&quot;&gt;&lt;script&gt;" hidden x="1.5"></a>'


def test_elements_of_html_without_inside_have_no_end() -> None:
    assert tag("meta", charset="utf-8") == '<meta charset="utf-8">'
    assert tag("line", x="0") == '<line x="0"></line>'


def test_embedded_value_cannot_end_its_element_and_comes_back_as_it_was() -> None:
    made = embedded("data", [EVIL])
    assert made.count("<") == 2 and "\u2028" not in made
    assert json.loads(made[made.index(">") + 1 : made.rindex("<")]) == [EVIL]


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))


def test_page_runs_its_own_script_only_and_loads_nothing() -> None:
    page = document(EVIL, tag("p", EVIL), embedded("data", EVIL))
    reader = Reader()
    reader.feed(page)
    names = [name for name, _ in reader.tags]
    assert names.count("script") == 2 and "img" not in names and "link" not in names
    policy = next(own["content"] for name, own in reader.tags if "http-equiv" in own)
    assert policy is not None and "default-src 'none'" in policy and "script-src 'sha256-" in policy
    assert not [own for _, own in reader.tags if any(key in own for key in ("src", "onerror", "onclick"))]
