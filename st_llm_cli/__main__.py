"""`python -m st_llm_cli` is the command `stllm`."""

from st_llm_cli.cli.main import main

if __name__ == "__main__":
    main()
