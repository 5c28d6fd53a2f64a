"""The hall: each stage walks through the rooms in order."""
