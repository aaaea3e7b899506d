"""What a monitoring job is given: options, places, downloads."""
