"""What knows moto as such: its requests, its state on disk, answers without its framework."""
