"""The front door: one short file per command."""
