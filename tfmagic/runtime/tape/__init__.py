"""From what was heard to a recording, and the gradients that are asked of it afterwards."""
