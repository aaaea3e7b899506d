"""``python -m local_account``: run the stand-in account in the foreground."""

from local_account.server.main import main

main()
