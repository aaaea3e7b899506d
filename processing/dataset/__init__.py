"""Reads image sources safely and checks the dataset that comes of them."""
