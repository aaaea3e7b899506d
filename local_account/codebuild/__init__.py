"""AWS CodeBuild: builds that really run the phases of their buildspec."""
