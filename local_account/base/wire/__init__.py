"""Requests as bytes: clients that send slowly, bodies that are packed, names that S3 takes."""
