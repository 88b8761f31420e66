"""From models to text, HTML, DOT and SVG."""
