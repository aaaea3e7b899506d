"""What our own services share: the wire, validation against botocore's models, clients of roles."""
