"""The documents that jobs leave and others read, one file a document, as msgspec Structs.

Runs wherever they are written or read: in containers and, for those that come back, on a laptop. A document is written
with its fields in the order in which its Struct names them. ``python -m reporting.documents`` writes the JSON Schema of
each to ``docs/schemas/``, so that a reader in another language knows what to expect.
"""
