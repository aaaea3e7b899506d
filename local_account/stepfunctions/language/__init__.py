"""What a state machine's definition says: checks, queries in JSONPath and JSONata, values."""
