"""JetStream key-value buckets: views, positions of projectors, command ids."""
