"""Collect a model's answers to a benchmark's prompts."""
