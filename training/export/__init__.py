"""What leaves a training: the model archive, and the model in eight bits."""
