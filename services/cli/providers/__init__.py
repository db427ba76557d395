"""Simulated providers of the local stack: an SMSC and a mail sink that speak the real protocols."""
