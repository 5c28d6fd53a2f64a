import pytest

from st_llm_cli.cli.times import seconds_of
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
