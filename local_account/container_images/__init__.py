"""Code that stands for images of AWS's own: each folder has an ``image.toml``, see ``local_account.base.images``."""
