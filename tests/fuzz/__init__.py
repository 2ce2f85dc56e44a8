"""What must hold for any input: properties with hypothesis, and how many inputs each was tried with."""
