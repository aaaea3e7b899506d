"""Find labelled pictures in whatever somebody has: folders, lists, tar files; what they are called."""
