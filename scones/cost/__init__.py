"""What a stage costs a month, from its template and dated prices."""
