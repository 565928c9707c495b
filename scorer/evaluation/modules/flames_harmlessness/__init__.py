"""A metric for Hugging Face's `evaluate`."""
