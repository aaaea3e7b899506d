"""Uncertain images that people label, and the threshold that makes an image uncertain."""
