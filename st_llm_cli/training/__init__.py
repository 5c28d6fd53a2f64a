"""The workshop: data, objectives and the trainer."""
