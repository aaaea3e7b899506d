"""AWS Step Functions: moto's interpreter of the States Language, made to behave as the service."""
