"""Reads captured traffic: files, lines, times, what cannot be read."""
