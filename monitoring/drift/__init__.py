"""Holds traffic against a baseline: channels, detectors, findings."""
