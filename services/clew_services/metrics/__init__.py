"""Metrics for Prometheus: those that processes count, those of the deployment from JetStream, and their endpoint.

All metrics are defined in :mod:`clew_services.metrics.catalogue`, and listed in docs/metrics.md.
"""
