"""The rules of other systems and of textbooks, one module each, run in the scheduler's own state machine.

Each says what it does, where that is from, and what of it isn't modelled. What they have in common is in `common.py`.
"""
