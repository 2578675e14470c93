"""``python -m clew_services.cli`` is ``clew``."""

from clew_services.cli import main

main(prog_name="clew")
