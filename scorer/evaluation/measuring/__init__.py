"""Measuring a scorer on labelled rows: figures, slices, and two scorers compared."""
