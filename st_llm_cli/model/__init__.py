"""Room 3: tokens and a question become text."""
