"""What the functions of the inference workflow share. Each function's zip holds the modules that it imports."""
