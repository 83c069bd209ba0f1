"""Training MoCo, PCL and PAUC."""
