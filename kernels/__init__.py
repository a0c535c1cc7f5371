"""Numeric kernels, each with a plain reference of the same signature. This file stays empty: see ARCHITECTURE."""
