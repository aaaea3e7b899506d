"""Hands figures on: CloudWatch metrics and Model Monitor's files."""
