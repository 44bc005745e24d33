"""What a model must beat: simple predictors under the same protocol, cases and metrics."""
