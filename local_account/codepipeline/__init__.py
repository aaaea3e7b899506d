"""AWS CodePipeline and CodeConnections: pipelines of source, build, approval and deployment."""
