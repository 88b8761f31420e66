"""Pure functions from model to model: the graph, its folds, verdicts, figures in words."""
