from st_llm_cli.cli.token_cache import use_text
from st_llm_cli.tokens.store import CacheUse


def test_use_is_summed_up_in_one_line() -> None:
    use = CacheUse(hits=12, misses=3, bytes_read=9_200_000, bytes_written=2_300_000, seconds_saved=41.26)
    expected = "cache: 12 hits, 3 misses; 9.2 MB read, 2.3 MB written; 41.3 s of encoding saved"
    assert use_text(use) == expected


def test_damage_is_named() -> None:
    assert (
        use_text(CacheUse(misses=2, damaged=1))
        == "cache: 0 hits, 2 misses (1 damaged); 0 B read, 0 B written"
    )
