"""The two layers that are stepped through by hand, and what they are made from."""
