"""The record of processing (GDPR art. 30) and the profiling notice (art. 13, 21, 22), from the catalogue."""
