"""`python -m st_llm_cli` is the command `stllm`, which begins here too."""

import sys


def run() -> None:
    """Run the command line; Ctrl-C is quiet from the first import on."""
    try:
        from st_llm_cli.cli.main import main

        main()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    run()
