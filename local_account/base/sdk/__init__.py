"""What keeps the SageMaker SDK of a user's shell with the account."""
