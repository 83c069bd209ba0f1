"""Training of encoders by MoCo, PCL and PAUC: `pauc-train fit METHOD --data … --out DIR`."""
