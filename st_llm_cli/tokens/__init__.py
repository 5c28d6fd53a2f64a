"""Room 2: tokens on disk. What names an entry, where it lies, and how it is kept whole."""
