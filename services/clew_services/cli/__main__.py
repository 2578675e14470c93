"""``python -m clew_services.cli`` is ``clew``."""

from clew_services.main import main

main()
