"""From a recipe's sources to batches: what is shown, what is asked, and what is to be learnt."""
