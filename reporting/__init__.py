"""What the pages and jobs of evaluation and monitoring share."""
