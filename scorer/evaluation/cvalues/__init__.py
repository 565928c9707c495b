"""The CValues benchmark: multiple choice, free answers and human evaluation."""
