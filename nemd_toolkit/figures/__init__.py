"""Draw functions: measures in, matplotlib Figure out. They compute nothing."""
