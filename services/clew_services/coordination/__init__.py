"""Coordination between processes: leases."""
