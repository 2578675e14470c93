"""What follows from the history: current state, and every question that can be asked of the record."""
