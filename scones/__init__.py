"""Scones MLOps: the command line, and what this deployment is called. Runs on a laptop or in CodeBuild."""
