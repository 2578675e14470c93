"""Measured claims: Clew beside the raw limit of the same server, in one run, as ratios. ``make bench`` runs it."""
