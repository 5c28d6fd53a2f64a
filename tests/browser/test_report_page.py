"""The report in a real browser: a real run over the miniature benchmark, clicked through."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from st_llm_cli.cli.main import main
from tests.bench.golden import mini_folder
from tests.micro import write_micro_checkpoint

webdriver = pytest.importorskip("selenium.webdriver")
if shutil.which("chromium") is None or shutil.which("chromedriver") is None:
    pytest.skip(
        "needs chromium and chromedriver (Debian: chromium, chromium-driver)", allow_module_level=True
    )

from selenium.webdriver.chrome.options import Options  # noqa: E402
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.chrome.webdriver import WebDriver  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402

pytestmark = pytest.mark.slow

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1200,1400",
)
EVIL = "</script><img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"


def eval_to(folder: Path, *more: str) -> None:
    # A model that knows nothing is sometimes right and sometimes wrong, whatever the bundled weights become.
    model = write_micro_checkpoint(folder.with_name("guesser"))
    data = str(mini_folder() / "tvbench")
    arguments = ["eval", "--bench", "tvbench", "--data", data, "--model", str(model), "--cache", "off"]
    arguments += ["--output", str(folder)]
    with pytest.raises(SystemExit) as left:
        main([*arguments, *more])
    assert not left.value.code


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with controls."""
    folder = tmp_path_factory.mktemp("report") / "run"
    eval_to(folder, "--control", "reverse,blind")
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebDriver]:
    options = Options()
    options.binary_location = shutil.which("chromium") or ""
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    yield driver
    driver.quit()


def opened(browser: WebDriver, page: Path) -> WebDriver:
    browser.get(page.resolve().as_uri())
    return browser


def shown(browser: WebDriver) -> list[str]:
    """Ids of the questions on the screen."""
    return [row.get_attribute("data-id") or "" for row in browser.find_elements(By.CSS_SELECTOR, "tr.row")]


def click(browser: WebDriver, selector: str) -> None:
    element = browser.find_element(By.CSS_SELECTOR, selector)
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
    element.click()


def answers(run: Path) -> dict[str, bool]:
    """What the run's own file says of each answer: whether it is right."""
    rows = [json.loads(line) for line in (run / "predictions.jsonl").read_text().splitlines()]
    return {row["id"]: row["candidates"][row["option"]] == row["answer"] for row in rows}


def test_filters_show_what_they_say(run: Path, browser: WebDriver) -> None:
    right = answers(run)
    assert 0 < sum(right.values()) < len(right), "a filter needs both kinds"
    opened(browser, run / "report.html")
    assert set(shown(browser)) == set(right)
    click(browser, "[data-state=right]")
    assert set(shown(browser)) == {id for id, correct in right.items() if correct}
    assert browser.find_element(By.ID, "count").text == f"{sum(right.values())} of {len(right)} questions"
    click(browser, "[data-state=wrong]")
    assert set(shown(browser)) == {id for id, correct in right.items() if not correct}
    click(browser, "[data-state=all]")
    browser.find_element(By.ID, "search").send_keys("no such words")
    assert shown(browser) == []
    browser.find_element(By.ID, "search").clear()
    browser.find_element(By.ID, "search").send_keys("action_count/0")
    assert shown(browser) == ["action_count/0"]


def test_columns_sort(run: Path, browser: WebDriver) -> None:
    right = answers(run)
    opened(browser, run / "report.html")
    in_order = shown(browser)
    click(browser, "[data-sort='verdict strict']")
    assert [right[id] for id in shown(browser)] == sorted(right[id] for id in in_order)
    click(browser, "[data-sort='verdict strict']")
    assert [right[id] for id in shown(browser)] == sorted((right[id] for id in in_order), reverse=True)


def test_row_opens_to_the_whole_answer_with_its_frames(run: Path, browser: WebDriver) -> None:
    opened(browser, run / "report.html")
    click(browser, "tr.row button")
    panel = browser.find_element(By.CSS_SELECTOR, ".panel")
    assert {"strict", "released"} <= set(panel.text.split()) and "without time" in panel.text
    assert len(panel.find_elements(By.CSS_SELECTOR, ".options .key")) == 1
    image = panel.find_element(By.CSS_SELECTOR, ".strip img")
    assert (
        browser.execute_script("return arguments[0].decode().then(() => arguments[0].naturalWidth)", image)
        > 100
    )
    click(browser, "tr.row button")
    assert not browser.find_elements(By.CSS_SELECTOR, ".panel")


def test_charts_and_themes_are_drawn(run: Path, browser: WebDriver) -> None:
    opened(browser, run / "report.html")
    bars = browser.find_elements(By.CSS_SELECTOR, "#scores .totals .bar")
    share = sum(answers(run).values()) / len(answers(run))
    chart = browser.find_element(By.CSS_SELECTOR, "#scores .totals .chart")
    assert bars[0].size["width"] == pytest.approx(share * chart.size["width"], abs=3)
    paper = "return getComputedStyle(document.body).backgroundColor"
    before = browser.execute_script(paper)
    click(browser, "#theme")
    assert browser.execute_script(paper) != before
    assert "temporal gain" in browser.find_element(By.CSS_SELECTOR, ".cards").text


@pytest.mark.parametrize("width", [360, 800, 1400])
def test_no_width_makes_the_page_scroll_sideways(width: int, run: Path, browser: WebDriver) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        opened(browser, run / "report.html")
        click(browser, "tr.row button")
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_page_loads_nothing_and_has_no_errors(run: Path, browser: WebDriver) -> None:
    opened(browser, run / "report.html")
    entries = "return performance.getEntriesByType('resource').map((e) => e.name)"
    assert all(name.startswith("data:") for name in browser.execute_script(entries))
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_evil_reply_is_shown_and_not_run(run: Path, browser: WebDriver, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "evil")
    path = tmp_path / "evil" / "predictions.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[0] |= {"reply": EVIL, "option": None, "question": EVIL, "task": EVIL}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(SystemExit):
        main(["rescore", str(tmp_path / "evil")])
    opened(browser, tmp_path / "evil" / "report.html")
    browser.find_element(By.ID, "search").send_keys(rows[0]["id"])
    click(browser, "tr.row button")
    assert EVIL in browser.find_element(By.CSS_SELECTOR, ".panel pre").text
    assert browser.title != "owned" and not browser.find_elements(By.CSS_SELECTOR, "img[src=x]")


def test_comparison_shows_what_flipped(run: Path, browser: WebDriver, tmp_path: Path) -> None:
    base = run / "control-reverse"
    before, after = answers(base), answers(run)
    names = {(False, True): "won", (True, False): "lost", (True, True): "both", (False, False): "neither"}
    expected: dict[str, set[str]] = {}
    for id, correct in after.items():
        expected.setdefault(names[before[id], correct], set()).add(id)
    with pytest.raises(SystemExit):
        main(["compare", str(base), str(run), "--html", str(tmp_path / "ab.html")])
    opened(browser, tmp_path / "ab.html")
    assert len(shown(browser)) == len(after)
    for state, ids in expected.items():
        click(browser, f"[data-state={state}]")
        assert set(shown(browser)) == ids
    click(browser, "tr.row button")
    assert "replies" in browser.find_element(By.CSS_SELECTOR, ".panel").text
