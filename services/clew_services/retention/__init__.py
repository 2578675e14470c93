"""Retention: threads are removed when their time is over, by a tenant's policies or by what they say themselves."""
