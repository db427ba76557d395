"""The gates, one module each, all with one interface."""
