"""What services refuse in their own words, before anything is looked up."""
