"""Tests that touch nothing outside a temporary folder, except the real images."""
