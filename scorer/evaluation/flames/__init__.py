"""The Flames benchmark (arXiv 2311.06899): formulas, published results, figures of a model's answers."""
