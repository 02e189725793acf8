"""What synthesis would take on this machine, and whether it fits."""
