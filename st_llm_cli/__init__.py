"""stllm: a toolkit for ST-LLM, the video LLM that reads every spatial-temporal token."""
