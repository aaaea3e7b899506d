"""What protects and is protected: keys of KMS, secrets of Secrets Manager, parameters of Parameter Store."""
