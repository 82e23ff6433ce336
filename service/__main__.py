"""`python -m service` is `satcle`."""

from service.cli import main

main()
