"""``python -m clew_services.cli`` is ``clew``."""

from clew_services.program import main

main()
