"""The services that tasks call beside the AWS SDK's: what their answers and errors look like to a state."""
