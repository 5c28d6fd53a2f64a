import pytest

from st_llm_cli.cli.times import clock, duration, seconds_of, window_of
from st_llm_cli.errors import UsageError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("12", 12.0),
        ("12.5", 12.5),
        (".5", 0.5),
        ("10s", 10.0),
        ("1:30", 90.0),
        ("1:02:03.5", 3723.5),
        ("90:00", 5400.0),
        ("1m30s", 90.0),
        ("2min", 120.0),
        ("1h", 3600.0),
        (" 7 ", 7.0),
        ("0", 0.0),
    ],
)
def test_time_is_read(text: str, seconds: float) -> None:
    assert seconds_of(text, "--start") == seconds


@pytest.mark.parametrize("text", ["", "noon", "-3", "1:2:3:4", "1,5", "10 minutes", "nan", "1e3", "m", "s"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        seconds_of(text, "--start")
    assert str(caught.value) == f"--start: '{text}' is not a time (write 12.5, 1:30 or 1:02:03)"


@pytest.mark.parametrize(
    ("text", "window"),
    [("0:10-0:25", (10.0, 25.0)), ("1:30-", (90.0, None)), ("-12.5", (None, 12.5)), ("1m-2m", (60.0, 120.0))],
)
def test_a_stretch_of_time_is_read(text: str, window: tuple[float | None, float | None]) -> None:
    assert window_of(text, "/clip") == window


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("-", "/clip: '-' is not a stretch of time (write 0:10-0:25 or 0:10-)"),
        ("0:10", "/clip: '0:10' is not a stretch of time (write 0:10-0:25 or 0:10-)"),
        ("9-3", "/clip: '9-3' ends before it begins (write the begin first)"),
        ("a-b", "/clip: 'a' is not a time (write 12.5, 1:30 or 1:02:03)"),
    ],
)
def test_what_is_no_stretch_of_time_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(UsageError) as caught:
        window_of(text, "/clip")
    assert str(caught.value) == complaint


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(0, "0:00"), (4.2, "0:04.2"), (59.96, "1:00"), (83, "1:23"), (3723.5, "1:02:03.5")],
)
def test_a_time_is_written_as_it_is_read(seconds: float, written: str) -> None:
    assert clock(seconds) == written
    assert seconds_of(written, "--start") == pytest.approx(seconds, abs=0.05)


@pytest.mark.parametrize(
    ("seconds", "written"), [(0, "0 s"), (59.6, "1 min 00 s"), (95, "1 min 35 s"), (7500, "2 h 05 min")]
)
def test_a_duration_is_written_in_words(seconds: float, written: str) -> None:
    assert duration(seconds) == written
