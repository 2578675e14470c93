"""Metrics for Prometheus: those that processes count, those of the deployment from JetStream, and their endpoint.

Every metric stands in :mod:`clew_services.metrics.catalogue`, and in docs/operating/metrics.md.
"""
