"""What a deployment uploads: zips, the container source archive, the image layer."""
