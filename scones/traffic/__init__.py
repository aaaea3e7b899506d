"""Captured and simulated traffic, and the schedule of reports."""
