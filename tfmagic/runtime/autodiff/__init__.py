"""Recorded ops run again: on other values, one by one, or one at a time to be timed."""
