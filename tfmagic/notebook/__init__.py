"""What a notebook sees: magics, the cells around them, settings and completion."""
