"""Review: image after image, labelled by keys; two people at once do not get the same one."""
