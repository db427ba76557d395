"""The rule language: from text with positions to checked conditions and actions."""
