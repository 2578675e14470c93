"""Metrics for Prometheus: what a process counts, what JetStream says of the deployment, and how both are shown.

Every metric stands in :mod:`clew_services.metrics.catalogue`, and in docs/operating/metrics.md.
"""
