"""Devices: which there are, which are chosen, and what ran elsewhere than where it was sent."""
