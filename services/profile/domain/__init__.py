"""What a customer is, what happened, what was agreed: pure values and rules."""
