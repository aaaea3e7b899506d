"""The CloudFormation stack of a stage, and the code that fills, deploys and removes it."""
