"""AWS Lambda: functions in warm worker processes over the Lambda Runtime API."""
