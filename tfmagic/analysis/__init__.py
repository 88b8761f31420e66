"""What can be said of a recording: pure functions from model to model, and nothing drawn."""
