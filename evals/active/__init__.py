"""Active evaluation: which expert is best, or their ranking, with a stated confidence and as few paid calls as possible."""
