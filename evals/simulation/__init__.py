"""The scheduler on simulated machines: its own code under its own and other systems' rules, on the same requests."""
