import pytest

from st_llm_cli.cli.sizes import bytes_of, size_text
from st_llm_cli.errors import UsageError


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("1000", 1000),
        ("200GB", 200 * 10**9),
        ("1.5 tb", 15 * 10**11),
        ("512MiB", 512 * 2**20),
        ("3KB", 3000),
        ("0", 0),
    ],
)
def test_sizes_are_read(text: str, count: int) -> None:
    assert bytes_of(text, "--budget") == count


@pytest.mark.parametrize("text", ["", "GB", "-3GB", "3 apples", "1,5GB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"--budget: '.*' is not a size \(write 200GB, 1.5TB or 500MB\)"):
        bytes_of(text, "--budget")


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 KB"),
        (12_345_678, "12.3 MB"),
        (99_960_000, "100 MB"),
        (999_600_000, "1.0 GB"),
        (5 * 10**15, "5000 TB"),
    ],
)
def test_sizes_are_written(count: int, text: str) -> None:
    assert size_text(count) == text
