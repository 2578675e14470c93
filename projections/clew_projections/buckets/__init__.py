"""Current state as it is stored: views in key-value buckets, and how far each of them can be trusted."""
