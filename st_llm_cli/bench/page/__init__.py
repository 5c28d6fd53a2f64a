"""One self-contained page of HTML: what a run came to, and every answer behind it."""
