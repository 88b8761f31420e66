"""All that touches TensorFlow: recording, differentiating afterwards, names."""
