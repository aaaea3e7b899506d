"""Application Auto Scaling: the instances of endpoint variants follow what they are asked."""
