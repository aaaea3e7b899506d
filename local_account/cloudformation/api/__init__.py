"""The API: its actions on stacks, change sets and templates, and what their requests ask for."""
