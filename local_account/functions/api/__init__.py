"""Lambda's API: names, descriptions, versions, permissions and settings of functions."""
