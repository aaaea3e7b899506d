"""Tests that need the stand-in account."""
