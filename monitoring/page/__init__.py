"""The report as a page and plots."""
