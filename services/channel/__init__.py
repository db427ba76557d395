"""The only service that may talk to a customer: gates, messages, hand-over, receipts."""
