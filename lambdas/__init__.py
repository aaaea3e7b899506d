"""Lambda functions: one file, one function; standard library and boto3, Powertools and Pillow from layers.

The functions do not import each other. What several of them need lies in `lambdas.inference`.
"""
