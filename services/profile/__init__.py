"""Who the customer is, what happened, and what they agreed to."""
