"""Lambda functions: one file, one function, standard library and boto3 only. They do not import each other."""
