"""Annotated rows in, a scorer out: recipe, targets, fit, calibration, export and card."""
