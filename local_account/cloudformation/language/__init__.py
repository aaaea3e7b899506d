"""What templates say: their sections, references, functions, parameters and rules, and what they become for a stack."""
