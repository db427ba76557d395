"""What the decision service knows: the rule language, its compiler, arbitration."""
