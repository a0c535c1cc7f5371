"""The report of a sweep: what is shown (`views.py` and what it gathers), and how (`writing.py` and what it calls)."""
