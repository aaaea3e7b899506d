"""AWS CloudFormation: stacks and change sets, every resource made through the account's own API."""
