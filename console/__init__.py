"""The console: pages about a stage in the browser, on this machine alone. Runs on a laptop; boto3 underneath."""
