"""Room 4: replies become scores. Reads benchmarks and judges answers; knows no model and imports no torch."""
