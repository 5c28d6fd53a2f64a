"""The world of moving shapes: real video files with known truth."""
