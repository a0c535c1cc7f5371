"""Outcome files from the formats that people have. `registry.py` names them."""
