"""Tar and zip archives, read with checks, and downloads in ranges."""
