"""Templates from the inside: languages, a sandbox with budgets, what may stand where in HTML."""
