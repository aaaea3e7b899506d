"""Decides whether a call is allowed: IAM's evaluation of policies, conditions, keys and resources."""
