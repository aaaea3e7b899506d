"""The server process: the port, which service a request is for, and who may ask."""
