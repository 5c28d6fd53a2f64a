"""Room 1: a video path becomes a Clip."""
